-- The worker's own memory: which runs were done, what was learned in them, which schema files were applied.

BEGIN ISOLATION LEVEL READ COMMITTED;

DO $$ BEGIN PERFORM pg_advisory_xact_lock(7246018351029); END $$;
SET LOCAL lock_timeout = '30s';
SET LOCAL client_min_messages = notice;
DO $$ BEGIN PERFORM worker.ensure_database_fits(); END $$;

DO $$ BEGIN
    IF to_regclass('worker.runs') IS NULL THEN
        RAISE NOTICE 'Created the tables of the schema worker.';
    ELSE
        RAISE NOTICE 'The tables of the schema worker are already there.';
    END IF;
END $$;
SET LOCAL client_min_messages = warning;  -- "already exists, skipping" says nothing new

-- A run is one job for one period; its row with shard -1 is the run as a whole, the others are its shares of the
-- clients. Who holds a row has the lease and the newest token; with an older token nothing can be committed.
CREATE TABLE IF NOT EXISTS worker.runs (
    job          TEXT NOT NULL,
    period_key   TEXT NOT NULL,
    shard        INTEGER NOT NULL DEFAULT -1,
    status       TEXT NOT NULL,
    token        BIGINT NOT NULL DEFAULT 0,
    holder       TEXT,
    lease_until  TIMESTAMPTZ,
    attempts     INTEGER NOT NULL DEFAULT 0,
    as_of        TIMESTAMPTZ,
    started_at   TIMESTAMPTZ,
    heartbeat_at TIMESTAMPTZ,
    finished_at  TIMESTAMPTZ,
    counts       JSONB NOT NULL DEFAULT '{}',
    error        TEXT,
    PRIMARY KEY (job, period_key, shard),
    CONSTRAINT runs_status_known CHECK (status IN ('pending', 'running', 'done', 'failed', 'released')),
    CONSTRAINT runs_running_has_a_lease CHECK (status <> 'running' OR lease_until IS NOT NULL)
);

ALTER TABLE worker.runs ADD COLUMN IF NOT EXISTS succeeded_at TIMESTAMPTZ;  -- stays while the next attempt runs

-- What a fit learned from all clients together. The version is a digest of the content, so the same model is one row.
CREATE TABLE IF NOT EXISTS worker.models (
    version      TEXT PRIMARY KEY,
    job          TEXT NOT NULL,
    as_of        TIMESTAMPTZ NOT NULL,
    parameters   JSONB NOT NULL,
    scores       JSONB NOT NULL DEFAULT '{}',
    code_version TEXT,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now()
);
ALTER TABLE worker.models ADD COLUMN IF NOT EXISTS trained_from TIMESTAMPTZ;  -- as_of is where the training span ends
-- the newest model of a job before an instant
CREATE INDEX IF NOT EXISTS models_by_job ON worker.models (job, as_of DESC);

-- From which instant on which model speaks: the newest row before an analysis' as_of. A fit that did not lose on
-- held-out leads is adopted by itself, an older one by hand (models --use).
CREATE TABLE IF NOT EXISTS worker.adoptions (
    job        TEXT NOT NULL,
    as_of      TIMESTAMPTZ NOT NULL,
    version    TEXT NOT NULL,
    by_hand    BOOLEAN NOT NULL DEFAULT false,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (job, as_of)
);

CREATE TABLE IF NOT EXISTS worker.migrations (
    name       TEXT PRIMARY KEY,
    digest     TEXT NOT NULL,
    applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
);

ALTER TABLE worker.runs ENABLE ROW LEVEL SECURITY;
ALTER TABLE worker.models ENABLE ROW LEVEL SECURITY;
ALTER TABLE worker.adoptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE worker.migrations ENABLE ROW LEVEL SECURITY;

COMMIT;
