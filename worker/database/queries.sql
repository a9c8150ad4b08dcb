-- The worker's SQL. Each statement: its name, a line on its purpose, the statement itself. Values are %(named)s; what is
-- in {braces} is a piece of SQL that depends on which optional columns this database has (catalogue.py).

-- name: read_columns
-- The columns of the tables that the worker knows, with their types and whether we may read them.
SELECT n.nspname AS schema_name,
       c.relname AS table_name,
       c.relkind::text AS kind,
       a.attname AS column_name,
       t.typname AS type_name,
       a.attnotnull AS is_required,
       (a.atthasdef OR a.attidentity <> '') AS has_default,
       (has_schema_privilege(n.oid, 'USAGE') AND has_column_privilege(c.oid, a.attnum, 'SELECT')) AS readable
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND ((n.nspname = 'public' AND c.relname = ANY (%(tables)s)) OR (n.nspname = 'worker' AND c.relname = ANY (%(own)s)))
ORDER BY n.nspname, c.relname, a.attnum;

-- name: read_tables
-- The same tables as wholes: our rights on them, and whether row-level security stands between us and the rows.
SELECT n.nspname AS schema_name,
       c.relname AS table_name,
       c.relkind::text AS kind,
       -- an insert through a policy needs no more than this; the estimate is -1 where nobody counted yet
       c.reltuples::float8 AS estimated_rows,
       CASE WHEN c.relkind IN ('r', 'p') THEN row_security_active(c.oid) ELSE false END AS row_security_active,
       has_table_privilege(c.oid, 'SELECT') AS may_select,
       has_table_privilege(c.oid, 'INSERT') AS may_insert,
       has_table_privilege(c.oid, 'UPDATE') AS may_update,
       has_table_privilege(c.oid, 'DELETE') AS may_delete,
       has_schema_privilege(n.oid, 'USAGE') AS may_use_schema
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND ((n.nspname = 'public' AND c.relname = ANY (%(tables)s)) OR (n.nspname = 'worker' AND c.relname = ANY (%(own)s)))
ORDER BY n.nspname, c.relname;

-- name: read_policies
-- The row-level security policies that apply to us on those tables, with their conditions.
SELECT n.nspname AS schema_name,
       c.relname AS table_name,
       p.polcmd::text AS command,
       p.polpermissive AS is_permissive,
       coalesce(pg_get_expr(p.polqual, p.polrelid), 'true') = 'true'
           AND coalesce(pg_get_expr(p.polwithcheck, p.polrelid), 'true') = 'true' AS is_always_true
FROM pg_catalog.pg_policy p
JOIN pg_catalog.pg_class c ON c.oid = p.polrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE ((n.nspname = 'public' AND c.relname = ANY (%(tables)s)) OR (n.nspname = 'worker' AND c.relname = ANY (%(own)s)))
  AND EXISTS (SELECT FROM unnest(p.polroles) AS r (role)
              WHERE CASE WHEN r.role = 0 THEN true ELSE pg_has_role(r.role, 'USAGE') END)
ORDER BY n.nspname, c.relname, p.polname;

-- name: read_indexes
-- The usable btree indexes of those tables: the first column of each, which are unique, and in that column alone.
SELECT c.relname AS table_name,
       i.relname AS index_name,
       a.attname AS first_column,
       x.indisunique AS is_unique,
       (x.indpred IS NOT NULL) AS is_partial,
       (x.indisunique AND x.indnkeyatts = 1 AND x.indpred IS NULL) AS is_key
FROM pg_catalog.pg_index x
JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid
JOIN pg_catalog.pg_class c ON c.oid = x.indrelid
JOIN pg_catalog.pg_am m ON m.oid = i.relam AND m.amname = 'btree'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace AND n.nspname = 'public'
LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.indkey[0]
WHERE x.indisvalid AND c.relname = ANY (%(tables)s)
ORDER BY c.relname, i.relname;

-- name: read_server
-- What the server and the session say of themselves.
SELECT current_setting('server_version_num')::integer AS version_number,
       current_setting('server_version') AS version,
       quote_ident(current_user) AS role_name,
       clock_timestamp() AS server_time,
       EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = 'worker') AS has_private_schema,
       EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'growth_worker') AS has_worker_role,
       coalesce((SELECT pg_has_role(r.oid, 'MEMBER') AND NOT pg_has_role(r.oid, 'USAGE')
                 FROM pg_catalog.pg_roles AS r WHERE r.rolname = 'growth_worker'), false) AS is_idle_member,
       current_setting('server_encoding') AS encoding,
       (SELECT a.attname
        FROM pg_catalog.pg_constraint k
        JOIN pg_catalog.pg_attribute own ON own.attrelid = k.conrelid AND own.attnum = k.conkey[1]
        JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = k.confkey[1]
        WHERE k.contype = 'f' AND k.conrelid = pg_catalog.to_regclass('public.growth_brain')
          AND k.confrelid = pg_catalog.to_regclass('public.clients') AND own.attname = 'client_id'
        ORDER BY a.attname LIMIT 1)::text AS brain_reference;

-- name: read_overreach
-- The secret columns of clients that growth_worker, which needs none of them, may read.
SELECT a.attname AS column_name
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = pg_catalog.to_regclass('public.clients') AND a.attnum > 0 AND NOT a.attisdropped
  AND a.attname = ANY (%(secrets)s)
  AND has_column_privilege('growth_worker', a.attrelid, a.attnum, 'SELECT')
ORDER BY a.attname;

-- name: any_row_visible
-- Whether row-level security shows us at least one row of a table.
SELECT EXISTS (SELECT FROM {table}) AS visible;

-- name: record_migration
-- Note that a schema file was applied, and which version of it.
INSERT INTO worker.migrations (name, digest)
VALUES (%(name)s, %(digest)s)
ON CONFLICT (name) DO UPDATE SET digest = excluded.digest, applied_at = now()
WHERE migrations.digest <> excluded.digest;

-- name: read_migrations
-- The schema files applied so far, and which version of each.
SELECT name, digest FROM worker.migrations ORDER BY name;

-- name: read_clients
-- Every client and what the jobs need of it; columns that a database lacks are nulls.
SELECT c.client_id::text, {language}, {industry}, {is_test}, {is_internal}, {internal_id}
FROM clients AS c

-- name: read_leads
-- The leads with a contact in the look-back, or all: one row, each column packed into one value (worker/packing.py).
-- Served by lead_memory ("timestamp"), for some clients by lead_memory (client_id).
SELECT {id}, {hash}, {client_id},
    {urgency}, {tone}, {source}, {intent}, {language}, {tag}, {outcome},
    {last_contact}, {last_updated}, {closed_at}, {no_sale_at},
    {confidence}, {flags}, {urgency_history}, {tone_history}, {confidence_history}
FROM lead_memory AS l
{window}

-- name: read_lead_actions
-- What was done with those leads, packed likewise. Served by lead_actions (lead_id) for a look-back or some clients, read
-- whole otherwise.
SELECT {hash}, {when}, {what}
FROM lead_actions AS a
{window}

-- name: count_pages
-- How many pages a table has.
SELECT pg_relation_size(to_regclass(%(table)s)) / current_setting('block_size')::bigint

-- name: count_leads_without_id
-- Rows that no key keeps from having no id.
SELECT count(*) FROM lead_memory AS l WHERE l.id IS NULL

-- name: read_lead_names
-- Names for conversion and reversion events, and for reports that ask for them; none for an id that several clients'
-- leads have, since it would be told to the wrong one. Served by the primary key of lead_memory.
SELECT l.id::text, min(l.name::text) FROM lead_memory AS l WHERE l.id = ANY (%(ids)s::text[]::{id_array})
GROUP BY l.id HAVING count(DISTINCT l.client_id) < 2

-- name: write_snapshots
-- One statement for a shard: insert what is new, refresh what differs, leave the rest untouched. Events are history:
-- once written they stay. A client deleted since it was read is passed over. Served by growth_brain_one_per_claim.
WITH told AS MATERIALIZED (  -- looked up once: an index would show each row the ones written before it, in vain
    SELECT e.client_id, e.event_type, e.learning_snapshot ->> 'claim_key' AS claim_key
    FROM growth_brain AS e
    WHERE e.client_id = ANY (%(event_clients)s::{id_type}[]) AND e.event_type IN ('conversion', 'reversion')
        AND e.learning_snapshot ->> 'period_key' IS NOT NULL
), written AS (
    INSERT INTO growth_brain AS g
        (client_id, event_type, learning_snapshot, insight_text, confidence, created_at)
    SELECT r.client_id, r.event_type, r.learning_snapshot, r.insight_text, r.confidence, r.created_at
    FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (
        client_id {id_type}, event_type text, learning_snapshot jsonb, insight_text text, confidence numeric(3, 2),
        created_at timestamptz)
    WHERE (r.client_id IS NULL OR r.client_id::text IN (SELECT c.client_id::text FROM clients AS c))
        -- an event is one whatever the local day it falls on: WORKER_TIMEZONE may have changed since
        AND NOT EXISTS (
            SELECT FROM told AS e
            WHERE e.client_id = r.client_id AND e.event_type = r.event_type
                AND e.claim_key = r.learning_snapshot ->> 'claim_key')
    ON CONFLICT (client_id, event_type, (learning_snapshot ->> 'period_key'), (learning_snapshot ->> 'claim_key'))
        WHERE learning_snapshot ->> 'period_key' IS NOT NULL
    DO UPDATE SET learning_snapshot = excluded.learning_snapshot, insight_text = excluded.insight_text,
        confidence = excluded.confidence, created_at = excluded.created_at
    WHERE g.event_type NOT IN ('conversion', 'reversion')
        AND (g.learning_snapshot, g.insight_text, g.confidence, g.created_at) IS DISTINCT FROM
            (excluded.learning_snapshot, excluded.insight_text, excluded.confidence, excluded.created_at)
    RETURNING (xmax = 0) AS is_new
)
SELECT count(*) FILTER (WHERE is_new), count(*) FILTER (WHERE NOT is_new) FROM written

-- name: delete_withdrawn_snapshots
-- What an earlier run of this period said of these clients and this one no longer says (their last lead of the window
-- was deleted, a pattern is gone). Never what a later as_of wrote. Served by growth_brain_one_per_claim.
DELETE FROM growth_brain AS g
WHERE g.event_type = %(event_type)s
    AND g.learning_snapshot ->> 'period_key' = %(period_key)s
    AND (g.client_id = ANY (%(client_ids)s::{id_type}[]) OR (%(with_global)s::boolean AND g.client_id IS NULL))
    AND g.created_at <= %(as_of)s
    AND NOT EXISTS (
        SELECT FROM jsonb_to_recordset(%(keys)s::jsonb) AS k (client_id {id_type}, period_key text, claim_key text)
        WHERE k.client_id IS NOT DISTINCT FROM g.client_id AND k.period_key = %(period_key)s
            AND k.claim_key = g.learning_snapshot ->> 'claim_key')

-- name: read_past_patterns
-- The pattern rows seen lately, for a pattern that goes on to keep its row. Served by idx_growth_brain_created_at.
SELECT g.client_id::text AS client_id, g.event_type, g.learning_snapshot ->> 'period_key' AS period_key,
    g.learning_snapshot ->> 'claim_key' AS claim_key, g.learning_snapshot ->> 'last_seen' AS last_seen,
    g.created_at AS as_of,
    g.learning_snapshot -> 'claim' ->> 'probability' AS probability, g.learning_snapshot -> 'effect' ->> 'z' AS z,
    -- as texts: a number may have more digits than Python reads
    jsonb_build_object('probability', g.learning_snapshot -> 'carried_from' ->> 'probability',
        'z', g.learning_snapshot -> 'carried_from' ->> 'z',
        'as_of', g.learning_snapshot -> 'carried_from' ->> 'as_of') AS carried_from
FROM growth_brain AS g
WHERE g.event_type = 'pattern_detected' AND g.created_at >= %(since)s AND isfinite(g.created_at)
    AND g.learning_snapshot ->> 'period_key' IS NOT NULL AND g.learning_snapshot ->> 'last_seen' IS NOT NULL {some}
ORDER BY g.created_at, g.id

-- name: read_foreign_events
-- Conversions and reversions that the application itself wrote: they have no period_key. The key names differ from
-- version to version; lead_id is in all of them. Served by idx_growth_brain_event_type.
SELECT g.event_type, g.client_id::text AS client_id, g.learning_snapshot ->> 'lead_id' AS lead_id, g.created_at,
    left(g.learning_snapshot ->> 'conversion_value', 40) AS conversion_value
FROM growth_brain AS g
WHERE g.event_type IN ('conversion', 'reversion') AND g.learning_snapshot ->> 'period_key' IS NULL
    AND g.created_at BETWEEN '2000-01-01' AND '9999-01-01' {some}

-- name: withdraw_events
-- Our own rows of events that the application has put on record since, and undated conversions that are dated now.
-- Served by growth_brain_one_per_claim.
DELETE FROM growth_brain AS g
WHERE g.client_id = ANY (%(client_ids)s::{id_type}[]) AND g.event_type IN ('conversion', 'reversion')
    AND g.learning_snapshot ->> 'period_key' IS NOT NULL
    AND ((g.event_type || ' ' || (g.learning_snapshot ->> 'claim_key')) = ANY (%(on_record)s::text[])
        -- what a later look found is not this one's to judge
        OR (g.learning_snapshot ->> 'dated' = 'false' AND g.created_at < %(as_of)s
            AND g.learning_snapshot ->> 'lead_id' = ANY (%(dated_leads)s::text[])
            AND (g.event_type || ' ' || (g.learning_snapshot ->> 'claim_key')) <> ALL (%(said)s::text[])))

-- name: read_known_events
-- The events of these clients that are written already. Served by growth_brain_one_per_claim.
SELECT g.client_id::text, g.event_type, g.learning_snapshot ->> 'claim_key'
FROM growth_brain AS g
WHERE g.client_id = ANY (%(client_ids)s::{id_type}[]) AND g.event_type IN ('conversion', 'reversion')
    AND g.learning_snapshot ->> 'period_key' IS NOT NULL

-- name: read_foreign_events_of_leads
-- The application's own conversions and reversions of some leads. Served by growth_brain_foreign_events.
SELECT g.event_type, g.client_id::text AS client_id, g.learning_snapshot ->> 'lead_id' AS lead_id, g.created_at,
    left(g.learning_snapshot ->> 'conversion_value', 40) AS conversion_value
FROM growth_brain AS g
WHERE g.event_type IN ('conversion', 'reversion') AND g.learning_snapshot ->> 'period_key' IS NULL
    AND left(g.learning_snapshot ->> 'lead_id', 100) = ANY (
        ARRAY(SELECT left(l.id, 100) FROM unnest(%(lead_ids)s::text[]) AS l (id)))
    AND g.learning_snapshot ->> 'lead_id' = ANY (%(lead_ids)s::text[])
    AND g.created_at BETWEEN '2000-01-01' AND '9999-01-01'

-- name: read_watermark
-- Up to where a job has seen everything.
SELECT w.as_of, w.horizon, w.state, w.model_version, w.upcoming FROM worker.watermarks AS w WHERE w.job = %(job)s

-- name: write_watermark
-- Leave the mark of a run that saw everything up to it.
INSERT INTO worker.watermarks (job, as_of, horizon, state, model_version, upcoming)
VALUES (%(job)s, %(as_of)s, %(horizon)s, %(state)s, %(model_version)s, %(upcoming)s::jsonb)
ON CONFLICT (job) DO UPDATE SET as_of = excluded.as_of, horizon = excluded.horizon, state = excluded.state,
    model_version = excluded.model_version, upcoming = excluded.upcoming, updated_at = now()

-- name: drop_watermark
-- A run that left no mark: the next one has to look at everything.
DELETE FROM worker.watermarks AS w WHERE w.job = %(job)s

-- name: read_horizon
-- The oldest transaction whose rows this one may not see; which files the tables are in, since a table that was emptied
-- or replaced is in another; and whether all of them tell which transaction wrote a row.
SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint,
    string_agg(concat_ws(' ', c.oid, pg_relation_filenode(c.oid)), ',' ORDER BY c.oid),
    -- a branch of CASE that is not taken is not evaluated: what is no plain table has no xmin
    bool_and(CASE WHEN c.relkind = 'r' THEN has_column_privilege(c.oid, 'xmin', 'SELECT') ELSE false END)
FROM unnest(%(tables)s::text[]) AS t (name)
JOIN pg_catalog.pg_class AS c ON c.oid = to_regclass(t.name)

-- name: is_all_ours
-- Whether every transaction numbered since was this job's own: the one that left the mark and the one that claimed the
-- run. Then nobody wrote anything on the whole server, and there is nothing to look for. Served by the primary keys.
SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint - %(horizon)s::bigint = count(DISTINCT own.number::text)
FROM (
    SELECT w.xmin FROM worker.watermarks AS w WHERE w.job = %(job)s
    UNION ALL
    SELECT r.xmin FROM worker.runs AS r WHERE r.job = %(job)s AND r.started_at >= now() - interval '1 day'
) AS own (number)
WHERE age(own.number) <= (SELECT age(%(oldest)s::xid))

-- name: read_changed_leads
-- The clients of leads written since. Looks at every row's header and at nothing else of it: the number of the
-- transaction that wrote it is in no index. Of rows older than two thousand million transactions age() is negative; that
-- is asked second, since hardly a row comes so far.
SELECT l.client_id::text FROM lead_memory AS l
WHERE age(l.xmin) <= (SELECT age(%(horizon)s::xid)) AND age(l.xmin) >= 0 LIMIT %(most)s

-- name: read_changed_actions
-- The leads of actions written since, in the same way.
SELECT a.lead_id::text FROM lead_actions AS a
WHERE age(a.xmin) <= (SELECT age(%(horizon)s::xid)) AND age(a.xmin) >= 0 LIMIT %(most)s

-- name: read_changed_clients
-- The clients written since, in the same way.
SELECT c.client_id::text FROM clients AS c WHERE age(c.xmin) <= (SELECT age(%(horizon)s::xid)) AND age(c.xmin) >= 0

-- name: read_changed_events
-- The leads whose conversions or reversions the application recorded since. Served by growth_brain_foreign_events.
SELECT g.learning_snapshot ->> 'lead_id' FROM growth_brain AS g
WHERE g.event_type IN ('conversion', 'reversion') AND g.learning_snapshot ->> 'period_key' IS NULL
    AND age(g.xmin) <= (SELECT age(%(horizon)s::xid)) AND age(g.xmin) >= 0 LIMIT %(most)s

-- name: read_clients_of_leads
-- What some leads carry as their client. Served by the primary key of lead_memory.
SELECT DISTINCT l.client_id::text FROM lead_memory AS l WHERE l.id = ANY (%(ids)s::{id_array})

-- name: claim_run
-- Take the lease on a run if it is free, with a fresh token; no row comes back where another process holds it. Asked
-- again, one that we hold ourselves is ours: a claim whose COMMIT was not answered. Served by the primary key.
INSERT INTO worker.runs AS r
    (job, period_key, shard, status, token, holder, lease_until, attempts, as_of, started_at, heartbeat_at)
VALUES (%(job)s, %(period_key)s, -1, 'running', 1, %(holder)s, now() + make_interval(secs => %(lease_seconds)s), 1,
    %(as_of)s, now(), now())
ON CONFLICT (job, period_key, shard) DO UPDATE SET
    status = 'running', token = r.token + 1, holder = excluded.holder, lease_until = excluded.lease_until,
    attempts = CASE WHEN r.status = 'done' THEN 1
                    WHEN r.status = 'running' AND r.holder = excluded.holder THEN r.attempts
                    ELSE r.attempts + 1 END,
    as_of = excluded.as_of, started_at = now(), heartbeat_at = now(), finished_at = NULL, error = NULL, counts = '{{}}'
WHERE r.status <> 'running' OR r.lease_until < now() OR (%(again)s::boolean AND r.holder = excluded.holder)
RETURNING r.token

-- name: read_run
-- How a run stands, by server time.
SELECT r.status, r.holder, r.as_of, GREATEST(0, extract(epoch FROM r.lease_until - now()))::float8 AS lease_seconds
FROM worker.runs AS r WHERE r.job = %(job)s AND r.period_key = %(period_key)s AND r.shard = -1

-- name: renew_lease
-- Keep a run that is still ours; no row comes back where another process took it. Locks the row, so that what is
-- written in the same transaction is written under a valid token.
UPDATE worker.runs AS r
SET lease_until = now() + make_interval(secs => %(lease_seconds)s), heartbeat_at = now()
WHERE r.job = %(job)s AND r.period_key = %(period_key)s AND r.shard = -1 AND r.token = %(token)s
    AND r.status = 'running'
RETURNING r.token

-- name: finish_run
-- End a run that is still ours, or say again how it ended; the notes of its shares have served. Served by the primary
-- key.
WITH finished AS (
    UPDATE worker.runs AS r
    SET status = %(status)s, finished_at = now(), lease_until = NULL, counts = %(counts)s::jsonb, error = %(error)s,
        succeeded_at = CASE WHEN %(status)s = 'done' THEN now() ELSE r.succeeded_at END
    WHERE r.job = %(job)s AND r.period_key = %(period_key)s AND r.shard = -1 AND r.token = %(token)s
        AND r.status IN ('running', %(status)s)
    RETURNING r.token
), swept AS (
    DELETE FROM worker.runs AS s
    WHERE s.job = %(job)s AND s.period_key = %(period_key)s AND s.shard >= 0 AND EXISTS (SELECT FROM finished)
)
SELECT f.token FROM finished AS f

-- name: release_run
-- Give back a run that this process holds, whatever its token: an attempt that was called off is none. Served by the
-- primary key.
UPDATE worker.runs AS r
SET status = 'released', finished_at = now(), lease_until = NULL, attempts = greatest(r.attempts - 1, 0)
WHERE r.job = %(job)s AND r.period_key = %(period_key)s AND r.shard = -1 AND r.status = 'running'
    AND r.holder = %(holder)s

-- name: note_shard
-- A share of a run is done, and what writing it did. Served by the primary key.
INSERT INTO worker.runs AS r (job, period_key, shard, status, token, finished_at, counts)
VALUES (%(job)s, %(period_key)s, %(shard)s, 'done', %(token)s, now(), %(counts)s::jsonb)
ON CONFLICT (job, period_key, shard) DO UPDATE SET
    status = 'done', token = excluded.token, finished_at = now(), counts = excluded.counts

-- name: read_shard
-- What a share of a run did that is done under this token. Served by the primary key.
SELECT r.counts FROM worker.runs AS r
WHERE r.job = %(job)s AND r.period_key = %(period_key)s AND r.shard = %(shard)s AND r.token = %(token)s
    AND r.status = 'done'

-- name: store_model
-- Keep what a fit learned; the version is a digest of the content, so the same model is stored once.
INSERT INTO worker.models (version, job, as_of, trained_from, parameters, scores, code_version)
VALUES (%(version)s, %(job)s, %(as_of)s, %(trained_from)s, %(parameters)s::jsonb, %(scores)s::jsonb, %(code_version)s)
ON CONFLICT (version) DO NOTHING

-- name: adopt_model
-- From this instant on this model speaks.
INSERT INTO worker.adoptions AS a (job, as_of, version, by_hand)
VALUES (%(job)s, %(as_of)s, %(version)s, %(by_hand)s)
ON CONFLICT (job, as_of) DO UPDATE SET version = excluded.version, by_hand = excluded.by_hand, created_at = now()
WHERE (a.version, a.by_hand) IS DISTINCT FROM (excluded.version, excluded.by_hand)

-- name: keep_champion
-- A rerun as of the same instant found that the model it had adopted loses after all.
DELETE FROM worker.adoptions AS a WHERE a.job = %(job)s AND a.as_of = %(as_of)s AND NOT a.by_hand

-- name: read_model_in_force
-- Which model speaks in an analysis as of an instant, since when, and whether by hand. Served by the primary keys.
SELECT m.version, m.as_of, a.as_of AS since, a.by_hand, m.parameters
FROM worker.adoptions AS a
JOIN worker.models AS m ON m.version = a.version
WHERE a.job = %(job)s AND a.as_of < %(before)s
ORDER BY a.as_of DESC LIMIT 1

-- name: read_model_of_code
-- The newest model that this very code fitted between two instants. Served by models_by_job.
SELECT m.version, m.parameters FROM worker.models AS m
WHERE m.job = %(job)s AND m.code_version = %(code_version)s AND m.as_of > %(after)s AND m.as_of <= %(until)s
ORDER BY m.as_of DESC, m.version LIMIT 1

-- name: read_models
-- Some models by version. Served by the primary key.
SELECT m.version, m.parameters FROM worker.models AS m WHERE m.version = ANY (%(versions)s::text[])

-- name: read_last_model
-- What a job learned last before an instant. Served by models_by_job.
SELECT m.version, m.parameters FROM worker.models AS m
WHERE m.job = %(job)s AND m.as_of < %(before)s
ORDER BY m.as_of DESC, m.version LIMIT 1

-- name: list_models
-- The registry, newest first, for whoever looks; in_force is the row that speaks now. Served by models_by_job.
SELECT m.version, m.job, m.trained_from, m.as_of, m.scores, m.code_version, m.created_at,
    in_force.version IS NOT NULL AS in_force, coalesce(in_force.by_hand, false) AS by_hand
FROM worker.models AS m
LEFT JOIN (
    SELECT DISTINCT ON (a.job) a.job, a.version, a.by_hand FROM worker.adoptions AS a ORDER BY a.job, a.as_of DESC
) AS in_force ON in_force.version = m.version
WHERE m.job = %(job)s
ORDER BY m.as_of DESC, m.created_at DESC LIMIT %(limit)s

-- name: find_models
-- The models of a job whose version begins in some way. Served by models_by_job.
SELECT m.version FROM worker.models AS m
WHERE m.job = %(job)s AND starts_with(m.version, %(start)s) ORDER BY m.version LIMIT 2

-- name: read_end_of_data
-- The newest lead or action before now, for the demo to look back from. Served by the indexes on "timestamp".
SELECT greatest(
    (SELECT max(l."timestamp") FROM lead_memory AS l WHERE l."timestamp" < %(now)s),
    (SELECT max(a."timestamp") FROM lead_actions AS a WHERE a."timestamp" < %(now)s))

-- name: count_rows
-- How much is there, for the demo's closing line.
SELECT (SELECT count(*) FROM clients), (SELECT count(*) FROM lead_memory), (SELECT count(*) FROM growth_brain)

-- name: read_demo_snapshots
-- What one run said of each client, for the demo's table. Served by idx_growth_brain_created_at.
SELECT g.client_id::text AS client_id, c.business_name, g.event_type, g.learning_snapshot, g.confidence
FROM growth_brain AS g
LEFT JOIN clients AS c ON c.client_id = g.client_id
WHERE g.created_at = %(as_of)s AND g.event_type NOT IN ('conversion', 'reversion')
ORDER BY g.client_id, g.event_type, g.id

-- name: read_last_period
-- The last period before one that a job was run for, and the last instant up to that period's beginning as of which it
-- learned a model: runs for some clients only, and released ones, leave no period behind. Served by the ledger's primary
-- key and models_by_job.
SELECT
    (SELECT max(r.period_key) FROM worker.runs AS r
    WHERE r.job = %(job)s AND r.shard = -1 AND r.period_key < %(period_key)s AND r.status IN ('done', 'failed')),
    (SELECT max(m.as_of) FROM worker.models AS m WHERE m.job = %(job)s AND m.as_of <= %(begins)s)

-- name: read_periods
-- How the last periods stand, for the calendar, and how long ago each ended; of one that runs, until when it is held.
-- And each job's last before them: it tells an outage longer than that from a job that was never run. Served by the
-- ledger's primary key; the ledger is small.
SELECT r.job, r.period_key, r.status, r.as_of, now() - coalesce(r.finished_at, r.lease_until), r.attempts,
    r.status = 'running' AND r.lease_until > now()
FROM worker.runs AS r
WHERE r.shard = -1 AND (r.period_key >= %(since)s OR (r.job, r.period_key) IN (
    SELECT o.job, max(o.period_key) FROM worker.runs AS o
    WHERE o.shard = -1 AND o.period_key < %(since)s GROUP BY o.job))

-- name: read_claim_instants
-- For each event type whose windows overlap, the instants whose claims are to be decided: the newest whose time has come,
-- the newest so many days before that, and so on; and the newest whose time has not come. Of instants at which all
-- clients were looked at, which left a row without client. Served by growth_brain_history.
WITH RECURSIVE kinds AS (
    SELECT k.event_type, k.most, make_interval(hours => 24 * k.apart) AS apart,
        make_interval(hours => 24 * k.matures) AS matures
    FROM unnest(%(types)s::text[], %(apart)s::int[], %(matures)s::int[], %(most)s::int[])
        AS k (event_type, apart, matures, most)
), instants AS (
    SELECT k.event_type, k.apart, k.most, newest.created_at, 1 AS number
    FROM kinds AS k
    CROSS JOIN LATERAL (
        SELECT g.created_at FROM growth_brain AS g
        WHERE g.client_id IS NULL AND g.event_type = k.event_type AND g.created_at < %(as_of)s
            AND g.created_at <= %(as_of)s - k.matures AND g.created_at >= '2000-01-01'
            AND g.learning_snapshot ->> 'period_key' IS NOT NULL
        ORDER BY g.created_at DESC LIMIT 1) AS newest
    UNION ALL
    SELECT i.event_type, i.apart, i.most, earlier.created_at, i.number + 1
    FROM instants AS i
    CROSS JOIN LATERAL (
        SELECT g.created_at FROM growth_brain AS g
        WHERE g.client_id IS NULL AND g.event_type = i.event_type AND g.created_at <= i.created_at - i.apart
            AND g.created_at >= '2000-01-01' AND g.learning_snapshot ->> 'period_key' IS NOT NULL
        ORDER BY g.created_at DESC LIMIT 1) AS earlier
    WHERE i.number < i.most
)
SELECT i.event_type, i.created_at FROM instants AS i
UNION ALL
SELECT k.event_type, waiting.created_at
FROM kinds AS k
CROSS JOIN LATERAL (
    SELECT g.created_at FROM growth_brain AS g
    WHERE g.client_id IS NULL AND g.event_type = k.event_type AND g.created_at < %(as_of)s
        AND g.created_at > %(as_of)s - k.matures AND g.learning_snapshot ->> 'period_key' IS NOT NULL
    ORDER BY g.created_at DESC LIMIT 1) AS waiting
ORDER BY event_type, created_at

-- name: read_claims
-- The claims of those instants, and every row of the event types whose rows are claims of their own since an instant;
-- each as the text of one small JSON array. The instants are given twice, for an index finds them only by themselves.
-- Served by idx_growth_brain_created_at and idx_growth_brain_event_type.
WITH rows AS (
    SELECT g.client_id, g.event_type, g.created_at, g.learning_snapshot FROM growth_brain AS g
    WHERE g.created_at = ANY (%(instants)s::timestamptz[])
        AND (g.event_type, g.created_at) IN (
            SELECT i.event_type, i.created_at
            FROM unnest(%(instant_types)s::text[], %(instants)s::timestamptz[]) AS i (event_type, created_at))
        AND (g.event_type <> 'accuracy_review' OR g.client_id IS NULL)
    UNION ALL
    SELECT g.client_id, g.event_type, g.created_at, g.learning_snapshot FROM growth_brain AS g
    JOIN unnest(%(row_types)s::text[], %(row_since)s::timestamptz[]) AS k (event_type, since) USING (event_type)
    WHERE g.event_type = ANY (%(row_types)s::text[]) AND g.created_at >= k.since AND g.created_at < %(as_of)s
)
SELECT r.client_id::text, r.event_type, r.created_at,
    jsonb_build_array(s.claim_key, s.model_version, s.lead_id, s."check" -> 'class', s.cohort -> 'hash',
        s.n, s.n_previous, s.claim -> 'probability', s.claim -> 'uncalibrated', s.claim -> 'low',
        s.claim -> 'high', s."check" -> 'p', s.expected_conversions, s.interval -> 'low', s.interval -> 'high',
        s.cohort -> 'size')::text
FROM rows AS r
CROSS JOIN LATERAL jsonb_to_record(
    CASE jsonb_typeof(r.learning_snapshot) WHEN 'object' THEN r.learning_snapshot ELSE '{{}}' END
) AS s (period_key jsonb, claim_key jsonb, model_version jsonb, lead_id jsonb, claim jsonb, "check" jsonb, cohort jsonb,
    interval jsonb, n jsonb, n_previous jsonb, expected_conversions jsonb)
WHERE jsonb_typeof(s.period_key) = 'string'

-- name: read_clients_remembered
-- The clients that have snapshots, each found by one step in an index on client_id, not by reading all rows.
WITH RECURSIVE found (client_id) AS (
    (SELECT g.client_id FROM growth_brain AS g WHERE g.client_id IS NOT NULL ORDER BY g.client_id LIMIT 1)
    UNION ALL
    SELECT (SELECT g.client_id FROM growth_brain AS g WHERE g.client_id > f.client_id ORDER BY g.client_id LIMIT 1)
    FROM found AS f WHERE f.client_id IS NOT NULL
)
SELECT f.client_id::text FROM found AS f WHERE f.client_id IS NOT NULL ORDER BY f.client_id

-- name: find_prunable
-- Of some clients, by event type and model: the rows that retention lets go, and how many stay. A period_key that is no
-- day, as 2026-02-31, is nobody's business here. Served by an index on client_id.
WITH keyed AS MATERIALIZED (  -- once: each look into a long snapshot has to unpack it
    SELECT g.id, g.client_id, g.event_type, g.learning_snapshot ->> 'model_version' AS model_version,
        CASE WHEN g.event_type = ANY (%(event_types)s::text[]) THEN g.learning_snapshot ->> 'period_key' END AS period_key
    FROM growth_brain AS g
    WHERE g.client_id = ANY (%(client_ids)s::{id_type}[]) OR (%(with_global)s::boolean AND g.client_id IS NULL)
), dated AS (
    SELECT k.*, CASE WHEN to_char(counted.day, 'YYYY-MM-DD') = k.period_key THEN counted.day END AS day
    FROM keyed AS k
    CROSS JOIN LATERAL (  -- on from the first of the month, since a cast to a day would stop at the 31st of February
        SELECT CASE WHEN k.period_key ~ '^[1-9][0-9][0-9][0-9]-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$'
            THEN (left(k.period_key, 7) || '-01')::date + right(k.period_key, 2)::int - 1 END) AS counted (day)
), placed AS (
    SELECT d.id, d.event_type, d.model_version, d.day,
        max(d.day) OVER (PARTITION BY d.client_id, d.event_type, d.day - extract(isodow FROM d.day)::int) AS last_of_week,
        max(d.day) OVER (PARTITION BY d.client_id, d.event_type, left(d.period_key, 7)) AS last_of_month
    FROM dated AS d
), judged AS (
    SELECT p.id, p.event_type, p.model_version,
        (p.day < %(daily_from)s::date
            AND p.day < CASE WHEN p.day >= %(weekly_from)s::date THEN p.last_of_week ELSE p.last_of_month END) IS TRUE
            AS goes
    FROM placed AS p
)
SELECT j.event_type, j.model_version, coalesce(array_agg(j.id::text) FILTER (WHERE j.goes), '{{}}'),
    count(*) FILTER (WHERE NOT j.goes)
FROM judged AS j GROUP BY j.event_type, j.model_version

-- name: delete_snapshots
-- Some rows by their id. Served by the primary key of growth_brain.
DELETE FROM growth_brain AS g WHERE g.id = ANY (%(ids)s::{id_array}) RETURNING g.event_type

-- name: find_prunable_models
-- Old models that no snapshot was made by, that never spoke and are not gone on from, save the newest of each job. While
-- a past day's run of the job goes on, or ended after the snapshots were looked at, its models are left alone.
SELECT m.version, m.job FROM worker.models AS m
WHERE m.as_of < %(before)s AND m.version <> ALL (%(named)s::text[])
    AND NOT EXISTS (SELECT FROM worker.adoptions AS a WHERE a.version = m.version)
    AND NOT EXISTS (SELECT FROM worker.watermarks AS w WHERE w.model_version = m.version)
    AND EXISTS (
        SELECT FROM worker.models AS newer
        WHERE newer.job = m.job AND (newer.as_of > m.as_of OR (newer.as_of = m.as_of AND newer.version < m.version)))
    AND NOT EXISTS (
        SELECT FROM worker.runs AS r
        WHERE r.job = m.job AND r.as_of < %(before)s AND (r.status = 'running' OR r.finished_at >= %(started)s))
ORDER BY m.job, m.version

-- name: delete_models
-- Some models by version, unless one was chosen to speak at this moment. Served by the primary key.
DELETE FROM worker.models AS m
WHERE m.version = ANY (%(versions)s::text[])
    AND NOT EXISTS (SELECT FROM worker.adoptions AS a WHERE a.version = m.version)
RETURNING m.version, m.job

-- name: read_status
-- How the recent periods stand and went, each job's last before them, as in read_periods, and its newest that is done,
-- for whoever looks; clients by id. Served by the ledger's primary key; the ledger is small.
WITH newest AS (
    SELECT n.job, max(n.period_key) AS period_key FROM worker.runs AS n
    WHERE n.shard = -1 AND (n.status = 'done' OR n.succeeded_at IS NOT NULL) GROUP BY n.job
)
SELECT r.job, r.period_key, r.status, r.as_of, coalesce(r.finished_at, r.lease_until) AS ended_at, r.attempts,
    r.status = 'running' AND r.lease_until > now() AS held, r.started_at, r.holder, r.error,
    r.counts -> 'failed_clients' AS failed_clients,
    coalesce(r.succeeded_at, CASE WHEN r.status = 'done' THEN r.finished_at END) AS succeeded_at
FROM worker.runs AS r
LEFT JOIN newest AS n ON n.job = r.job AND n.period_key = r.period_key
WHERE r.shard = -1 AND (r.period_key >= %(since)s OR n.job IS NOT NULL OR (r.job, r.period_key) IN (
    SELECT o.job, max(o.period_key) FROM worker.runs AS o
    WHERE o.shard = -1 AND o.period_key < %(since)s GROUP BY o.job))
ORDER BY r.job, r.period_key

-- name: read_identity
-- Which database this is: its name, and when it was made ready for the worker.
SELECT concat_ws(' ', current_database(), (SELECT min(m.applied_at) FROM worker.migrations AS m))

-- name: count_clients
-- How many clients there are.
SELECT count(*) FROM clients AS c

-- name: count_active_clients
-- How many clients have leads in both windows.
SELECT count(*)
FROM (
    SELECT FROM lead_memory AS l
    WHERE l."timestamp" >= %(start)s AND l."timestamp" < %(end)s
    GROUP BY l.client_id
    HAVING min(l."timestamp") < %(middle)s AND max(l."timestamp") >= %(middle)s
) AS a

-- name: read_installed_at
-- Since when the database is ready for the worker; nothing could run before that.
SELECT min(m.applied_at) FROM worker.migrations AS m

-- name: read_reliability
-- What the newest review of all clients says of each type's claims: how many are decided, what was said, what was right.
-- Served by growth_brain_history.
WITH newest AS (
    SELECT g.learning_snapshot -> 'jobs' AS jobs FROM growth_brain AS g
    WHERE g.client_id IS NULL AND g.event_type = 'accuracy_review' AND g.learning_snapshot ->> 'period_key' IS NOT NULL
    ORDER BY g.created_at DESC LIMIT 1
)
SELECT j.key, (j.value ->> 'resolved')::int, (j.value ->> 'mean_said')::float8, (j.value ->> 'mean_right')::float8
FROM newest AS n
CROSS JOIN LATERAL jsonb_each(CASE jsonb_typeof(n.jobs) WHEN 'object' THEN n.jobs ELSE '{{}}' END) AS j
WHERE (j.value ->> 'resolved')::int > 0
ORDER BY j.key

-- name: set_probe_limits
-- A probe has to be answered at once or not at all.
SELECT set_config('statement_timeout', %(limit)s, true), set_config('lock_timeout', %(limit)s, true)

-- name: has_signs_of_rows
-- Whether a table holds rows, by what everybody may know of it: the size of its file, the running statistics, and the
-- last count. A server that lost its statistics counts from zero, and a table never counted has reltuples -1; rows that
-- are gone leave a file behind until it is vacuumed. Partitions and children are part of their table.
WITH RECURSIVE part (oid) AS (
    SELECT to_regclass(%(table)s)::oid
    UNION
    SELECT i.inhrelid FROM pg_catalog.pg_inherits AS i JOIN part ON i.inhparent = part.oid
)
SELECT coalesce(bool_or(pg_relation_size(c.oid) > 0 AND (
    pg_stat_get_live_tuples(c.oid) > 0 OR c.reltuples > pg_stat_get_dead_tuples(c.oid)
    OR (c.reltuples < 0 AND pg_stat_get_dead_tuples(c.oid) = 0))), false)
FROM part JOIN pg_catalog.pg_class AS c ON c.oid = part.oid AND c.relkind IN ('r', 'p')

-- name: read_role
-- What our role may do without being granted it: everything (superuser), see every row, or what an owner may.
SELECT r.rolsuper AS is_superuser, r.rolbypassrls AS bypasses_row_security, EXISTS (
    SELECT FROM pg_catalog.pg_class AS c
    WHERE c.relnamespace = to_regnamespace('public') AND c.relname = ANY (%(tables)s)
      AND pg_has_role(c.relowner, 'USAGE')) AS owns_tables
FROM pg_catalog.pg_roles AS r WHERE r.rolname = current_user

-- name: read_rights_to_change
-- The rights to change those of some tables that we may change, down to a single column.
SELECT t.name, concat_ws(', ',
    CASE WHEN has_any_column_privilege(c.oid, 'INSERT') THEN 'INSERT' END,
    CASE WHEN has_any_column_privilege(c.oid, 'UPDATE') THEN 'UPDATE' END,
    CASE WHEN has_table_privilege(c.oid, 'DELETE') THEN 'DELETE' END,
    CASE WHEN has_table_privilege(c.oid, 'TRUNCATE') THEN 'TRUNCATE' END)
FROM unnest(%(tables)s::text[]) AS t (name)
JOIN pg_catalog.pg_class AS c ON c.oid = to_regclass('public.' || t.name)
ORDER BY t.name

-- name: try_to_read
-- Refused where we may not read the column. EXPLAIN asks for the same rights as the statement and then executes nothing.
EXPLAIN SELECT {column} FROM {table}

-- name: try_to_update
-- Refused where we may not change the column, in the same way.
EXPLAIN UPDATE {table} SET {column} = NULL

-- name: try_to_insert
-- Refused where we may not add rows, in the same way.
EXPLAIN INSERT INTO {table} ({column}) VALUES (NULL)

-- name: try_to_delete
-- Refused where we may not remove rows, in the same way.
EXPLAIN DELETE FROM {table}

-- name: try_snapshots
-- A row of each event type, written as the jobs write theirs, in a transaction that is undone.
INSERT INTO growth_brain (client_id, event_type, learning_snapshot, insight_text, confidence, created_at)
SELECT NULL, t.event_type, jsonb_build_object('period_key', 'check', 'claim_key', %(mark)s::text), 'check', 0.5, now()
FROM unnest(%(event_types)s::text[]) AS t (event_type)

-- name: change_tried_snapshots
-- The same rows changed. Served, as is the next, by growth_brain_one_per_claim.
UPDATE growth_brain SET confidence = 0.6
WHERE client_id IS NULL AND event_type = ANY (%(event_types)s) AND learning_snapshot ->> 'period_key' = 'check'
    AND learning_snapshot ->> 'claim_key' = %(mark)s

-- name: remove_tried_snapshots
-- The same rows removed.
DELETE FROM growth_brain
WHERE client_id IS NULL AND event_type = ANY (%(event_types)s) AND learning_snapshot ->> 'period_key' = 'check'
    AND learning_snapshot ->> 'claim_key' = %(mark)s

-- name: try_run
-- A row of the ledger, written in a transaction that is undone. Served, as are the next two, by its primary key.
INSERT INTO worker.runs (job, period_key, status) VALUES ('check', %(mark)s, 'done')

-- name: change_tried_run
-- The same row changed.
UPDATE worker.runs SET token = token + 1 WHERE job = 'check' AND period_key = %(mark)s AND shard = -1

-- name: remove_tried_run
-- The same row removed.
DELETE FROM worker.runs WHERE job = 'check' AND period_key = %(mark)s AND shard = -1

-- name: read_untold_writers
-- The tables that do not tell us which transaction wrote a row, and whether that is for want of a right.
SELECT t.name, c.relkind = 'r'
FROM unnest(%(tables)s::text[]) AS t (name)
JOIN pg_catalog.pg_class AS c ON c.oid = to_regclass('public.' || t.name)
-- a branch of CASE that is not taken is not evaluated: what is no plain table has no xmin
WHERE CASE WHEN c.relkind = 'r' THEN NOT has_column_privilege(c.oid, 'xmin', 'SELECT') ELSE true END
ORDER BY t.name

-- name: read_tables_beside
-- Tables that have the name of growth_brain with something behind it.
SELECT quote_ident(c.relname) FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = to_regnamespace('public') AND c.relkind IN ('r', 'p', 'm', 'f')
    AND starts_with(c.relname::text, 'growth_brain_')
ORDER BY c.relname

-- name: read_one_row_rules
-- Unique indexes by which growth_brain holds one row for each client, or for each of its event types.
SELECT quote_ident(i.relname), EXISTS (SELECT FROM pg_catalog.pg_constraint AS k WHERE k.conindid = x.indexrelid)
FROM pg_catalog.pg_index AS x
JOIN pg_catalog.pg_class AS i ON i.oid = x.indexrelid
WHERE x.indrelid = to_regclass('public.growth_brain') AND x.indisunique AND x.indpred IS NULL AND NOT EXISTS (
    SELECT FROM unnest(x.indkey::int2[]) AS k (number)
    LEFT JOIN pg_catalog.pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = k.number
    WHERE a.attname IS NULL OR a.attname NOT IN ('client_id', 'event_type'))
ORDER BY i.relname

-- name: read_open_functions
-- Functions of the application that run any SQL as their owner, for everybody: what is granted to nobody else is theirs.
SELECT p.oid::regprocedure::text FROM pg_catalog.pg_proc AS p
WHERE p.pronamespace = to_regnamespace('public') AND p.proname = 'exec_sql' AND p.prosecdef AND EXISTS (
    SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a
    WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE')
ORDER BY 1

-- name: report_clients
-- Every client, for the reports: its name and language where the database has them.
SELECT c.client_id::text, {business_name}, {language}, {is_test}, {is_internal}
FROM clients AS c

-- name: report_newest
-- Of some clients and each event type, the newest row that the worker wrote in a stretch of time. One step in an index
-- for each client and type. Served by growth_brain_history.
SELECT c.client_id::text, g.event_type, g.created_at, g.learning_snapshot, g.insight_text, g.confidence::float8
FROM unnest(%(client_ids)s::{id_type}[]) AS c (client_id)
CROSS JOIN unnest(%(event_types)s::text[]) AS k (event_type)
CROSS JOIN LATERAL (
    SELECT n.event_type, n.created_at, n.learning_snapshot, n.insight_text, n.confidence FROM growth_brain AS n
    WHERE {same_client} AND n.event_type = k.event_type AND n.created_at >= %(since)s AND n.created_at <= %(until)s
        AND n.learning_snapshot ->> 'period_key' IS NOT NULL
    ORDER BY n.created_at DESC LIMIT 1) AS g

-- name: report_scores
-- Of some clients, what their engagement was at every instant on record in a stretch of time, oldest first. Served by
-- growth_brain_history.
SELECT c.client_id::text, n.created_at, n.learning_snapshot -> 'overall_score', n.learning_snapshot -> 'score',
    n.learning_snapshot -> 'previous', n.learning_snapshot -> 'n', n.learning_snapshot -> 'n_previous'
FROM unnest(%(client_ids)s::{id_type}[]) AS c (client_id)
JOIN growth_brain AS n ON {same_client} AND n.event_type = 'engagement_score'
WHERE n.created_at >= %(since)s AND n.created_at <= %(until)s AND n.learning_snapshot ->> 'period_key' IS NOT NULL
ORDER BY c.client_id, n.created_at

-- name: report_patterns
-- Of some clients, the patterns that were on at some time in a stretch of days, the surest first. Served by
-- growth_brain_history.
SELECT c.client_id::text, n.event_type, n.created_at, n.learning_snapshot, n.insight_text, n.confidence::float8
FROM unnest(%(client_ids)s::{id_type}[]) AS c (client_id)
JOIN growth_brain AS n ON {same_client} AND n.event_type = 'pattern_detected'
WHERE n.learning_snapshot ->> 'period_key' <= %(last_day)s AND n.learning_snapshot ->> 'last_seen' >= %(first_day)s
ORDER BY c.client_id, n.confidence DESC, n.learning_snapshot ->> 'claim_key'

-- name: report_events
-- Of some clients, how many conversions and reversions are on record in a stretch of time, and how many of those are
-- without a date. Served by growth_brain_history.
SELECT c.client_id::text, count(*) FILTER (WHERE n.event_type = 'conversion'),
    count(*) FILTER (WHERE n.event_type = 'reversion'),
    count(*) FILTER (WHERE n.event_type = 'conversion' AND n.learning_snapshot -> 'days_to_convert' = 'null')
FROM unnest(%(client_ids)s::{id_type}[]) AS c (client_id)
JOIN growth_brain AS n ON {same_client} AND n.event_type IN ('conversion', 'reversion')
WHERE n.created_at >= %(since)s AND n.created_at <= %(until)s AND n.learning_snapshot ->> 'period_key' IS NOT NULL
GROUP BY c.client_id

-- name: report_pattern_day
-- The newest day up to one that patterns were looked for in: what was last seen before it is over. Served by the ledger's
-- primary key.
SELECT max(r.period_key) FROM worker.runs AS r
WHERE r.job = 'pattern_detection' AND r.shard = -1 AND r.period_key <= %(last_day)s
    AND (r.status = 'done' OR r.succeeded_at IS NOT NULL)

-- name: report_reviewed_at
-- The instant of the newest review of all clients up to one. Served by growth_brain_history.
SELECT max(g.created_at) FROM growth_brain AS g
WHERE g.client_id IS NULL AND g.event_type = 'accuracy_review' AND g.created_at <= %(until)s
    AND g.learning_snapshot ->> 'period_key' IS NOT NULL
