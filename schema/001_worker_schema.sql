-- The worker's private schema, and the check that every later file starts with.
--
-- Nothing here touches a table of yours. If the database is not as needed, this file stops with a sentence that says
-- what was found and what to do, and leaves nothing behind; the later files then stop too.

BEGIN ISOLATION LEVEL READ COMMITTED;

-- One migration at a time in this database: every file takes this lock, and its COMMIT gives it back.
DO $$ BEGIN PERFORM pg_advisory_xact_lock(7246018351029); END $$;
SET LOCAL lock_timeout = '30s';  -- rather give up than hold up the application behind a queue of locks
SET LOCAL client_min_messages = notice;

DO $$
DECLARE
    marker text := obj_description(to_regnamespace('worker'), 'pg_namespace');
BEGIN
    IF current_setting('server_version_num')::integer < 150000 THEN
        RAISE EXCEPTION 'This is PostgreSQL %, and the worker needs 15 or newer.', current_setting('server_version')
            USING HINT = 'Upgrade the server, then migrate again.';
    END IF;
    IF to_regnamespace('worker') IS NULL THEN
        IF NOT has_database_privilege(current_database(), 'CREATE') THEN
            RAISE EXCEPTION 'The role % may not create the schema "worker" in this database.', current_user
                USING HINT = format('Migrate as the owner of the database, or run: GRANT CREATE ON DATABASE %I TO %I;',
                                    current_database(), current_user);
        END IF;
        EXECUTE 'CREATE SCHEMA worker';
        COMMENT ON SCHEMA worker IS 'growth-brain-worker: its own tables. Private; nothing here is meant for the API.';
        RAISE NOTICE 'Created the private schema worker.';
    ELSIF marker IS NULL OR marker NOT LIKE 'growth-brain-worker:%' THEN
        RAISE EXCEPTION 'A schema named "worker" that is not this worker''s is already there.'
            USING HINT = 'Rename it (ALTER SCHEMA worker RENAME TO ...), then migrate again.';
    ELSE
        RAISE NOTICE 'The private schema worker is already there.';
    END IF;
END $$;

-- Stop with a clear sentence unless this database can be completed without altering anything in it.
CREATE OR REPLACE FUNCTION worker.ensure_database_fits() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $function$
DECLARE
    brain oid := to_regclass('public.growth_brain');
    brain_kind "char" := (SELECT relkind FROM pg_class WHERE oid = brain);
    found_columns text;
    differences text;
    foreign_tables text;
    needed record;
BEGIN
    -- growth_brain as the seed has it. Wider forms of a type are fine where the same values go in and come out.
    IF brain IS NOT NULL THEN
        SELECT string_agg(attname, ', ' ORDER BY attnum) INTO found_columns
        FROM pg_attribute WHERE attrelid = brain AND attnum > 0 AND NOT attisdropped;

        WITH seed (name, types, filled_by_default) AS (VALUES
            ('id', ARRAY['uuid', 'text', 'varchar'], true),
            ('client_id', ARRAY['uuid', 'text', 'varchar'], false),
            ('event_type', ARRAY['text', 'varchar'], false),
            ('learning_snapshot', ARRAY['jsonb'], false),
            ('insight_text', ARRAY['text', 'varchar'], false),
            ('confidence', ARRAY['numeric'], false),
            ('created_at', ARRAY['timestamptz'], false)
        ), present AS (
            SELECT a.attname::text AS name, t.typname::text AS type, a.attnotnull AS is_required,
                   (a.atthasdef OR a.attidentity <> '') AS has_default
            FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
            WHERE a.attrelid = brain AND a.attnum > 0 AND NOT a.attisdropped
        ), difference (text) AS (
            SELECT format('no column %s', s.name) FROM seed s LEFT JOIN present p USING (name) WHERE p.name IS NULL
            UNION ALL
            SELECT format('%s is %s, not %s', s.name, p.type, s.types[1])
            FROM seed s JOIN present p USING (name) WHERE p.type <> ALL (s.types)
            UNION ALL
            SELECT format('%s has no default', s.name)
            FROM seed s JOIN present p USING (name) WHERE s.filled_by_default AND NOT p.has_default
            UNION ALL
            SELECT 'client_id may not be null' FROM present WHERE name = 'client_id' AND is_required
            UNION ALL
            SELECT format('%s must be given', p.name) FROM present p LEFT JOIN seed s USING (name)
            WHERE s.name IS NULL AND p.is_required AND NOT p.has_default
            UNION ALL
            SELECT format('client_id refers to clients.%s, not to clients.client_id', there.attname)
            FROM pg_constraint k
            JOIN pg_attribute here ON here.attrelid = k.conrelid AND here.attnum = k.conkey[1]
            JOIN pg_attribute there ON there.attrelid = k.confrelid AND there.attnum = k.confkey[1]
            WHERE k.contype = 'f' AND k.conrelid = brain AND k.confrelid = to_regclass('public.clients')
                AND here.attname = 'client_id' AND there.attname <> 'client_id'
        )
        SELECT string_agg(text, ', ' ORDER BY text) INTO differences FROM difference;

        IF differences IS NOT NULL OR brain_kind NOT IN ('r', 'p') THEN
            RAISE EXCEPTION 'public.growth_brain is here in another shape (%); its columns are: %.',
                    coalesce(differences, 'it is not a table'), found_columns
                USING HINT = 'Nothing was changed. Rename it, for example ALTER TABLE public.growth_brain RENAME TO '
                             'growth_brain_old; then migrate again.';
        END IF;
    END IF;

    FOR needed IN
        SELECT * FROM (VALUES ('clients', 'client_id'), ('lead_memory', 'id'), ('lead_memory', 'client_id'),
                              ('prospect_candidates', 'id')) AS v (table_name, column_name)
        WHERE to_regclass('public.' || v.table_name) IS NOT NULL AND NOT EXISTS (
            SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass('public.' || v.table_name)
            AND a.attname = v.column_name AND NOT a.attisdropped)
    LOOP
        RAISE EXCEPTION 'The table public.% has no column %.', needed.table_name, needed.column_name
            USING HINT = 'Nothing was changed. This looks like another application''s table: rename it, or use '
                         'another database, then migrate again.';
    END LOOP;

    -- Indexes, grants and policies can only be added to a table by its owner.
    SELECT string_agg(format('public.%I', c.relname), ', ' ORDER BY c.relname) INTO foreign_tables
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace
      AND c.relname IN ('clients', 'lead_memory', 'lead_actions', 'growth_brain')
      AND NOT pg_has_role(c.relowner, 'USAGE');
    IF foreign_tables IS NOT NULL THEN
        RAISE EXCEPTION 'The role % does not own %.', current_user, foreign_tables
            USING HINT = 'Nothing was changed. Migrate as the owner of these tables.';
    END IF;
END $function$;

-- Create a table of the public schema unless something of that name is there, which is then left exactly as it is.
--
-- The definition is the plain SQL of a database built from nothing. Beside existing tables two things in it give way:
-- a reference takes the type of the key it points to (and is left out where that key is not unique), and an index
-- whose name is taken gets one from PostgreSQL. Row-level security is switched on for what is created here only.
CREATE OR REPLACE FUNCTION worker.create_table(new_table text, definition text) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $function$
DECLARE
    reference record;
    key_type text;
    index_name text;
BEGIN
    IF to_regclass(format('public.%I', new_table)) IS NOT NULL THEN
        RAISE NOTICE 'The table public.% is already there: left as it is.', new_table;
        RETURN;
    END IF;
    FOR reference IN
        SELECT DISTINCT m[1] AS nullability, m[2] AS to_table, m[3] AS to_column
        FROM regexp_matches(definition, 'UUID( NOT NULL)? REFERENCES (\w+)\((\w+)\)', 'g') AS m
    LOOP
        SELECT format_type(a.atttypid, a.atttypmod) INTO key_type FROM pg_attribute a
        WHERE a.attrelid = to_regclass(format('public.%I', reference.to_table)) AND a.attname = reference.to_column;
        definition := replace(
            definition,
            format('UUID%s REFERENCES %s(%s)', reference.nullability, reference.to_table, reference.to_column),
            format('%s%s REFERENCES %s(%s)', key_type, reference.nullability, reference.to_table, reference.to_column));
        IF NOT EXISTS (
            SELECT FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
            WHERE i.indrelid = to_regclass(format('public.%I', reference.to_table)) AND a.attname = reference.to_column
              AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indnkeyatts = 1 AND i.indpred IS NULL)
        THEN
            definition := replace(
                definition,
                format(' REFERENCES %s(%s) ON DELETE CASCADE', reference.to_table, reference.to_column), '');
            RAISE NOTICE 'public.%(%) is not unique, so public.% does not refer to it by a foreign key.',
                reference.to_table, reference.to_column, new_table;
        END IF;
    END LOOP;
    FOR index_name IN SELECT m[1] FROM regexp_matches(definition, 'CREATE INDEX (\w+) ON', 'g') AS m LOOP
        IF to_regclass(format('public.%I', index_name)) IS NOT NULL THEN
            definition := replace(definition, format('CREATE INDEX %s ON', index_name), 'CREATE INDEX ON');
        END IF;
    END LOOP;

    EXECUTE definition;
    EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', new_table);
    -- Supabase's API role: newer projects grant it nothing by themselves.
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'service_role') THEN
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON public.%I TO service_role', new_table);
    END IF;
    RAISE NOTICE 'Created the table public.%.', new_table;
END $function$;

-- Create an index that the worker needs, unless a usable one that begins with the same column is there.
CREATE OR REPLACE FUNCTION worker.create_index(index_name text, on_table text, first_column text, key text)
RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $function$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = first_column
        WHERE c.oid = to_regclass(format('public.%I', on_table)) AND c.relkind IN ('r', 'p') AND NOT a.attisdropped)
    THEN
        RAISE NOTICE 'No index on public.%(%): there is no such column in a table.', on_table, first_column;
    ELSIF EXISTS (
        SELECT FROM pg_index i
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
        WHERE i.indrelid = to_regclass(format('public.%I', on_table)) AND a.attname = first_column
          AND m.amname = 'btree' AND i.indisvalid AND i.indpred IS NULL
          -- the key asked for may be longer than one column: then the name tells
          AND (key NOT LIKE '%,%' OR c.relname = index_name))
    THEN
        RAISE NOTICE 'An index on public.%(%) is already there.', on_table, replace(key, '"', '');
    ELSE
        EXECUTE format('CREATE INDEX %I ON public.%I (%s)', index_name, on_table, key);
        RAISE NOTICE 'Created the index % on public.%.', index_name, on_table;
    END IF;
END $function$;

REVOKE ALL ON SCHEMA worker FROM PUBLIC;
REVOKE ALL ON FUNCTION worker.ensure_database_fits(), worker.create_table(text, text),
    worker.create_index(text, text, text, text) FROM PUBLIC;

DO $$ BEGIN PERFORM worker.ensure_database_fits(); END $$;

COMMIT;
