# The worker as a container: the daemon by default, any command when one is given.
#   docker build -t growth-brain-worker .
#   docker run -e DATABASE_URL=postgresql://... growth-brain-worker
#   docker run -e DATABASE_URL=postgresql://... growth-brain-worker python -m worker.run engagement_score

FROM python:3.13-slim AS build
COPY requirements.lock /tmp/
# Wheels with known hashes only: nothing is compiled, nothing unlocked comes in.
RUN python -m venv /opt/worker \
    && /opt/worker/bin/pip install --no-cache-dir --require-hashes --only-binary :all: -r /tmp/requirements.lock \
    && /opt/worker/bin/pip uninstall --yes pip

FROM python:3.13-slim
LABEL org.opencontainers.image.title="growth-brain-worker" \
      org.opencontainers.image.description="Scheduled lead analytics on PostgreSQL whose confidence values are true"
COPY --from=build /opt/worker /opt/worker
COPY worker /app/worker
COPY schema /app/schema
ENV PATH=/opt/worker/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
CMD ["python", "-m", "worker"]
