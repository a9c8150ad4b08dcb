-- growth_worker: the role that holds the worker's rights. A role to log in with is made a member of it:
--     CREATE ROLE my_worker LOGIN PASSWORD '...' IN ROLE growth_worker;

BEGIN ISOLATION LEVEL READ COMMITTED;

DO $$ BEGIN PERFORM pg_advisory_xact_lock(7246018351029); END $$;
SET LOCAL lock_timeout = '30s';
SET LOCAL client_min_messages = notice;
DO $$ BEGIN PERFORM worker.ensure_database_fits(); END $$;

-- Roles belong to the whole server, so a migration of another database may be creating the same one right now.
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'growth_worker') THEN
        RAISE NOTICE 'The role growth_worker is already there.';
        RETURN;
    END IF;
    CREATE ROLE growth_worker NOLOGIN;
    RAISE NOTICE 'Created the role growth_worker.';
EXCEPTION
    WHEN duplicate_object OR unique_violation THEN
        RAISE NOTICE 'The role growth_worker is already there.';
    WHEN insufficient_privilege THEN
        RAISE EXCEPTION 'The role % may not create the role growth_worker.', current_user
            USING HINT = format('Ask an administrator to run: CREATE ROLE growth_worker NOLOGIN; (or ALTER ROLE %I '
                                'CREATEROLE;) then migrate again.', current_user);
END $$;

COMMIT;
