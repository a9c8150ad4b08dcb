-- For dashboards: the newest snapshot of each type, for each client and for all clients together (client_id null).

BEGIN ISOLATION LEVEL READ COMMITTED;

DO $$ BEGIN PERFORM pg_advisory_xact_lock(7246018351029); END $$;
SET LOCAL lock_timeout = '30s';
SET LOCAL client_min_messages = notice;
DO $$ BEGIN PERFORM worker.ensure_database_fits(); END $$;

DO $$ BEGIN
    IF to_regclass('public.growth_brain_latest') IS NOT NULL THEN
        RAISE NOTICE 'The view public.growth_brain_latest is already there: left as it is.';
        RETURN;
    END IF;
    -- security_invoker: whoever asks sees the rows that their own rights and policies show, not the owner's.
    CREATE VIEW public.growth_brain_latest WITH (security_invoker = true) AS
        SELECT DISTINCT ON (client_id, event_type)
            id, client_id, event_type, learning_snapshot, insight_text, confidence, created_at
        FROM public.growth_brain
        ORDER BY client_id, event_type, created_at DESC, id DESC;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role') THEN
        GRANT SELECT ON public.growth_brain_latest TO service_role;
    END IF;
    RAISE NOTICE 'Created the view public.growth_brain_latest.';
END $$;

COMMIT;
