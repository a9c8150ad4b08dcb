-- The application's own tables: clients, their leads, and what was done with each lead.
-- Each is created only where it is missing.

BEGIN ISOLATION LEVEL READ COMMITTED;

DO $$ BEGIN PERFORM pg_advisory_xact_lock(7246018351029); END $$;
SET LOCAL lock_timeout = '30s';
SET LOCAL client_min_messages = notice;
DO $$ BEGIN PERFORM worker.ensure_database_fits(); END $$;

DO $do$ BEGIN PERFORM worker.create_table('clients', $ddl$
    CREATE TABLE clients (
        id                    UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        client_id             UUID NOT NULL UNIQUE DEFAULT gen_random_uuid(),
        business_name         TEXT NOT NULL,
        contact_name          TEXT,
        email                 TEXT NOT NULL UNIQUE,
        api_key               TEXT NOT NULL UNIQUE,
        password_hash         TEXT NOT NULL,
        language              TEXT NOT NULL DEFAULT 'en',
        industry_category     TEXT,
        primary_service       TEXT,
        booking_link          TEXT,
        custom_tagline        TEXT,
        email_tone            TEXT NOT NULL DEFAULT 'Friendly',
        followup_speed        TEXT NOT NULL DEFAULT 'Instant',
        ai_personalized_reply BOOLEAN NOT NULL DEFAULT true,
        outbound_email        TEXT,
        smtp_host             TEXT,
        smtp_port             INTEGER,
        smtp_username         TEXT,
        smtp_password         TEXT,
        timezone              TEXT,
        status                TEXT,
        is_internal           BOOLEAN NOT NULL DEFAULT false,
        is_test               BOOLEAN NOT NULL DEFAULT false,
        created_at            TIMESTAMPTZ NOT NULL DEFAULT now(),
        last_login            TIMESTAMPTZ,
        last_connection       TIMESTAMPTZ,
        last_rotated          TIMESTAMPTZ,
        CONSTRAINT clients_language_known CHECK (language IN ('en', 'fr')),
        CONSTRAINT clients_email_tone_known CHECK (email_tone IN ('Friendly', 'Professional', 'Formal', 'Energetic')),
        CONSTRAINT clients_followup_speed_known CHECK (followup_speed IN ('Instant', 'Within 1 hour', 'Same day')),
        CONSTRAINT clients_status_known CHECK (status IN ('pending_approval', 'active', 'rejected'))
    );
$ddl$); END $do$;

-- "timestamp" is the lead's last contact; the histories hold one {value, timestamp} for each contact, oldest first.
-- What the enrichment says (intent, tone, urgency) is free text, so no CHECK stands on it.
DO $do$ BEGIN PERFORM worker.create_table('lead_memory', $ddl$
    CREATE TABLE lead_memory (
        id                   UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        client_id            UUID REFERENCES clients(client_id) ON DELETE CASCADE,
        name                 TEXT,
        email                TEXT,
        message              TEXT,
        language             TEXT DEFAULT 'en',
        ai_summary           TEXT,
        intent               TEXT,
        tone                 TEXT,
        urgency              TEXT,
        confidence_score     NUMERIC(3,2),
        current_tag          TEXT DEFAULT 'Active',
        archived             BOOLEAN NOT NULL DEFAULT false,
        deleted              BOOLEAN NOT NULL DEFAULT false,
        is_test              BOOLEAN NOT NULL DEFAULT false,
        source               TEXT,
        tone_history         JSONB DEFAULT '[]',
        urgency_history      JSONB DEFAULT '[]',
        confidence_history   JSONB DEFAULT '[]',
        relationship_insight TEXT,
        outcome_status       TEXT,
        contacted_at         TIMESTAMPTZ,
        meeting_booked_at    TIMESTAMPTZ,
        client_closed_at     TIMESTAMPTZ,
        no_sale_at           TIMESTAMPTZ,
        "timestamp"          TIMESTAMPTZ NOT NULL DEFAULT now(),
        last_updated         TIMESTAMPTZ DEFAULT now(),
        CONSTRAINT lead_memory_confidence_score_in_unit_interval
            CHECK (confidence_score >= 0 AND confidence_score <= 1),
        CONSTRAINT lead_memory_outcome_status_known
            CHECK (outcome_status IN ('contacted', 'meeting_booked', 'client_closed', 'no_sale'))
    );
    -- the foreign key: deleting a client, and one client's leads
    CREATE INDEX idx_lead_memory_client_id ON lead_memory(client_id);
    -- the application looks a returning lead up by address
    CREATE INDEX idx_lead_memory_email ON lead_memory(email);
$ddl$); END $do$;

DO $do$ BEGIN PERFORM worker.create_table('lead_actions', $ddl$
    CREATE TABLE lead_actions (
        id                 UUID PRIMARY KEY DEFAULT gen_random_uuid(),
        lead_id            UUID NOT NULL REFERENCES lead_memory(id) ON DELETE CASCADE,
        client_id          UUID REFERENCES clients(client_id) ON DELETE CASCADE,
        action_type        TEXT NOT NULL,
        tag                TEXT,
        conversion_outcome BOOLEAN,
        reversion_reason   TEXT,
        is_test            BOOLEAN NOT NULL DEFAULT false,
        "timestamp"        TIMESTAMPTZ NOT NULL DEFAULT now(),
        created_at         TIMESTAMPTZ NOT NULL DEFAULT now()
    );
    -- the foreign key: deleting a client
    CREATE INDEX idx_lead_actions_client_id ON lead_actions(client_id);
$ddl$); END $do$;

-- What the worker reads by. These may also be added to tables that were there before.
DO $$ BEGIN
    -- the leads of the two windows, all clients at once
    PERFORM worker.create_index('idx_lead_memory_timestamp', 'lead_memory', 'timestamp', '"timestamp" DESC');
    -- the history of given leads; also the foreign key: deleting a lead
    PERFORM worker.create_index('idx_lead_actions_lead_id', 'lead_actions', 'lead_id', 'lead_id');
    -- the actions of the two windows, all clients at once
    PERFORM worker.create_index('idx_lead_actions_timestamp', 'lead_actions', 'timestamp', '"timestamp" DESC');
END $$;

COMMIT;
