-- growth_brain: where every snapshot goes, and what makes writing one twice harmless.

BEGIN ISOLATION LEVEL READ COMMITTED;

DO $$ BEGIN PERFORM pg_advisory_xact_lock(7246018351029); END $$;
SET LOCAL lock_timeout = '30s';
SET LOCAL client_min_messages = notice;
DO $$ BEGIN PERFORM worker.ensure_database_fits(); END $$;

DO $do$ BEGIN PERFORM worker.create_table('growth_brain', $ddl$
    CREATE TABLE public.growth_brain (
        id                UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        client_id         UUID REFERENCES clients(client_id) ON DELETE CASCADE,
        event_type        TEXT NOT NULL,
        learning_snapshot JSONB,
        insight_text      TEXT,
        confidence        NUMERIC(3,2) CHECK (confidence >= 0 AND confidence <= 1),
        created_at        TIMESTAMPTZ DEFAULT NOW()
    );

    CREATE INDEX idx_growth_brain_client_id ON growth_brain(client_id);
    CREATE INDEX idx_growth_brain_event_type ON growth_brain(event_type);
    CREATE INDEX idx_growth_brain_created_at ON growth_brain(created_at DESC);
    CREATE INDEX idx_growth_brain_confidence ON growth_brain(confidence DESC);
    CREATE INDEX idx_growth_brain_snapshot ON growth_brain USING GIN (learning_snapshot);
$ddl$); END $do$;

-- One snapshot per client, type, period and claim; a null client_id (all clients together) counts as one client.
-- The application's own rows have no period_key and are free of it.
DO $$ BEGIN
    IF to_regclass('public.growth_brain_one_per_claim') IS NULL THEN
        CREATE UNIQUE INDEX growth_brain_one_per_claim ON public.growth_brain
            (client_id, event_type, (learning_snapshot ->> 'period_key'), (learning_snapshot ->> 'claim_key'))
            NULLS NOT DISTINCT
            WHERE learning_snapshot ->> 'period_key' IS NOT NULL;
        RAISE NOTICE 'Created the unique index growth_brain_one_per_claim on public.growth_brain.';
    ELSE
        RAISE NOTICE 'The unique index growth_brain_one_per_claim is already there.';
    END IF;
    -- the view growth_brain_latest, and a client's own earlier snapshots of one type, newest first
    PERFORM worker.create_index(
        'growth_brain_history', 'growth_brain', 'client_id', 'client_id, event_type, created_at DESC');
END $$;

COMMIT;
