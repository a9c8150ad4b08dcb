-- The application's prospecting tables. The worker does not read them; they are here so that the schema is whole,
-- and a policy on each says outright that the worker sees nothing of them.

BEGIN ISOLATION LEVEL READ COMMITTED;

DO $$ BEGIN PERFORM pg_advisory_xact_lock(7246018351029); END $$;
SET LOCAL lock_timeout = '30s';
SET LOCAL client_min_messages = notice;
DO $$ BEGIN PERFORM worker.ensure_database_fits(); END $$;

DO $do$ BEGIN PERFORM worker.create_table('prospect_candidates', $ddl$
    CREATE TABLE prospect_candidates (
        id                    UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        business_name         TEXT NOT NULL,
        website               TEXT,
        contact_email         TEXT,
        form_url              TEXT,
        industry              TEXT,
        region                TEXT,
        language              TEXT DEFAULT 'en',
        response_score        NUMERIC(5,2),
        automation_need_score NUMERIC(5,2),
        contacted             BOOLEAN NOT NULL DEFAULT false,
        metadata              JSONB DEFAULT '{}',
        is_test               BOOLEAN NOT NULL DEFAULT false,
        last_tested           TIMESTAMPTZ,
        created_at            TIMESTAMPTZ NOT NULL DEFAULT now(),
        CONSTRAINT prospect_candidates_response_score_in_percent
            CHECK (response_score >= 0 AND response_score <= 100),
        CONSTRAINT prospect_candidates_automation_need_score_in_percent
            CHECK (automation_need_score >= 0 AND automation_need_score <= 100)
    );
    CREATE POLICY growth_worker_stays_out ON prospect_candidates TO growth_worker USING (false);
$ddl$); END $do$;

DO $do$ BEGIN PERFORM worker.create_table('prospect_outreach_log', $ddl$
    CREATE TABLE prospect_outreach_log (
        id            UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        prospect_id   UUID REFERENCES prospect_candidates(id) ON DELETE CASCADE,
        email_subject TEXT NOT NULL,
        email_body    TEXT NOT NULL,
        status        TEXT NOT NULL DEFAULT 'sent',
        reply_content TEXT,
        sent_at       TIMESTAMPTZ DEFAULT now(),
        opened_at     TIMESTAMPTZ,
        replied_at    TIMESTAMPTZ,
        CONSTRAINT prospect_outreach_log_status_known
            CHECK (status IN ('sent', 'opened', 'replied', 'ignored', 'bounced'))
    );
    -- the foreign key: deleting a prospect
    CREATE INDEX idx_prospect_outreach_log_prospect_id ON prospect_outreach_log(prospect_id);
    CREATE POLICY growth_worker_stays_out ON prospect_outreach_log TO growth_worker USING (false);
$ddl$); END $do$;

COMMIT;
