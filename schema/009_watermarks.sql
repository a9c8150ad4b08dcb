-- Up to where a job that looks at what changed has come, and what it needs to see what changed since.

BEGIN ISOLATION LEVEL READ COMMITTED;

DO $$ BEGIN PERFORM pg_advisory_xact_lock(7246018351029); END $$;
SET LOCAL lock_timeout = '30s';
SET LOCAL client_min_messages = notice;
DO $$ BEGIN PERFORM worker.ensure_database_fits(); END $$;

-- One row a job. Whatever was committed before the transaction `horizon` has been seen, as it stood as of as_of; state
-- is a digest of all else that a result rests on. upcoming: for some clients the next instant, in microseconds since
-- 1970, at which rows of theirs that are dated ahead begin to count.
CREATE TABLE IF NOT EXISTS worker.watermarks (
    job           TEXT PRIMARY KEY,
    as_of         TIMESTAMPTZ NOT NULL,
    horizon       BIGINT NOT NULL,
    state         TEXT NOT NULL,
    model_version TEXT NOT NULL,
    upcoming      JSONB NOT NULL DEFAULT '{}',
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);
ALTER TABLE worker.watermarks ENABLE ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON worker.watermarks TO growth_worker;

DO $$
DECLARE
    looked_at text;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_policies WHERE schemaname = 'worker' AND tablename = 'watermarks') THEN
        CREATE POLICY growth_worker_writes ON worker.watermarks TO growth_worker USING (true) WITH CHECK (true);
        RAISE NOTICE 'Created the table worker.watermarks.';
    END IF;
    -- xmin, the number of the transaction that wrote a row, tells which rows are new. It says nothing else of them.
    FOREACH looked_at IN ARRAY ARRAY['clients', 'lead_memory', 'lead_actions'] LOOP
        CONTINUE WHEN NOT EXISTS (
            SELECT FROM pg_class c WHERE c.oid = to_regclass(format('public.%I', looked_at)) AND c.relkind = 'r');
        EXECUTE format('GRANT SELECT (xmin) ON public.%I TO growth_worker', looked_at);
    END LOOP;
    -- The events that the application itself recorded, of some leads or all of them: they have no period_key. An index
    -- holds no long text, and what the application writes must not fail for it: the beginning of the id is enough.
    IF to_regclass('public.growth_brain_foreign_events') IS NULL THEN
        CREATE INDEX growth_brain_foreign_events ON public.growth_brain (left(learning_snapshot ->> 'lead_id', 100))
            WHERE event_type IN ('conversion', 'reversion') AND learning_snapshot ->> 'period_key' IS NULL;
        RAISE NOTICE 'Created the index growth_brain_foreign_events on public.growth_brain.';
    ELSE
        RAISE NOTICE 'The index growth_brain_foreign_events is already there.';
    END IF;
END $$;

COMMIT;
