-- What growth_worker may do: read the columns that the jobs need, write snapshots, keep its ledger. Nothing else.

BEGIN ISOLATION LEVEL READ COMMITTED;

DO $$ BEGIN PERFORM pg_advisory_xact_lock(7246018351029); END $$;
SET LOCAL lock_timeout = '30s';
SET LOCAL client_min_messages = notice;
DO $$ BEGIN PERFORM worker.ensure_database_fits(); END $$;

-- Reading: named columns only. No message, no summary, no address, no secret; a lead's name and the reason of a
-- reversion are for conversion and reversion events.
DO $$
DECLARE
    readable record;
    present text;
BEGIN
    FOR readable IN SELECT * FROM (VALUES
        ('clients', ARRAY['id', 'client_id', 'business_name', 'language', 'industry_category', 'timezone', 'status',
                          'is_test', 'is_internal']),
        ('lead_memory', ARRAY['id', 'client_id', 'name', 'language', 'intent', 'tone', 'urgency', 'confidence_score',
                              'current_tag', 'archived', 'deleted', 'is_test', 'source', 'tone_history',
                              'urgency_history', 'confidence_history', 'outcome_status', 'contacted_at',
                              'meeting_booked_at', 'client_closed_at', 'no_sale_at', 'timestamp', 'last_updated']),
        ('lead_actions', ARRAY['id', 'lead_id', 'client_id', 'action_type', 'action', 'tag', 'conversion_outcome',
                               'reversion_reason', 'is_test', 'timestamp', 'created_at'])
        ) AS v (table_name, column_names)
    LOOP
        SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO present
        FROM pg_attribute a
        WHERE a.attrelid = to_regclass(format('public.%I', readable.table_name))
          AND a.attname = ANY (readable.column_names) AND a.attnum > 0 AND NOT a.attisdropped;
        EXECUTE format('GRANT SELECT (%s) ON public.%I TO growth_worker', present, readable.table_name);
    END LOOP;
    IF NOT has_schema_privilege('growth_worker', 'public', 'USAGE') THEN
        GRANT USAGE ON SCHEMA public TO growth_worker;
    END IF;
END $$;

-- Writing: snapshots, and the worker's own schema.
GRANT SELECT, INSERT, UPDATE, DELETE ON public.growth_brain TO growth_worker;
GRANT SELECT ON public.growth_brain_latest TO growth_worker;
GRANT USAGE ON SCHEMA worker TO growth_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON worker.runs, worker.models, worker.adoptions, worker.migrations TO growth_worker;

-- Row-level security lets the worker see all clients, since it works on all of them at once. Your own policies stay as
-- they are, and a table of yours without row-level security stays without it.
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN SELECT * FROM (VALUES
        ('public', 'clients', 'growth_worker_reads', 'FOR SELECT TO growth_worker USING (true)'),
        ('public', 'lead_memory', 'growth_worker_reads', 'FOR SELECT TO growth_worker USING (true)'),
        ('public', 'lead_actions', 'growth_worker_reads', 'FOR SELECT TO growth_worker USING (true)'),
        ('public', 'growth_brain', 'growth_worker_writes', 'TO growth_worker USING (true) WITH CHECK (true)'),
        ('worker', 'runs', 'growth_worker_writes', 'TO growth_worker USING (true) WITH CHECK (true)'),
        ('worker', 'models', 'growth_worker_writes', 'TO growth_worker USING (true) WITH CHECK (true)'),
        ('worker', 'adoptions', 'growth_worker_writes', 'TO growth_worker USING (true) WITH CHECK (true)'),
        ('worker', 'migrations', 'growth_worker_writes', 'TO growth_worker USING (true) WITH CHECK (true)')
        ) AS v (schema_name, table_name, policy_name, rule)
    LOOP
        CONTINUE WHEN EXISTS (
            SELECT FROM pg_policies p WHERE p.schemaname = wanted.schema_name AND p.tablename = wanted.table_name
            AND p.policyname = wanted.policy_name);
        -- a view, or a foreign table, has no policies
        CONTINUE WHEN NOT EXISTS (
            SELECT FROM pg_class c WHERE c.oid = to_regclass(format('%I.%I', wanted.schema_name, wanted.table_name))
            AND c.relkind IN ('r', 'p'));
        EXECUTE format('CREATE POLICY %I ON %I.%I %s',
                       wanted.policy_name, wanted.schema_name, wanted.table_name, wanted.rule);
        RAISE NOTICE 'Created the policy % on %.%.', wanted.policy_name, wanted.schema_name, wanted.table_name;
    END LOOP;
END $$;

COMMIT;
