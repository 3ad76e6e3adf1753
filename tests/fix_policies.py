"""The schema of private channels as the realtime protocol names it, with the roles that tokens name."""

from __future__ import annotations

import pytest

from pgcast.devdb.template import Database

ROLES = """
    DO $$
    DECLARE name text;
    BEGIN
        FOREACH name IN ARRAY '{anon,authenticated,service_role}'::text[] LOOP
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN EXECUTE 'CREATE ROLE ' || name; END IF;
        END LOOP;
        ALTER ROLE service_role BYPASSRLS;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END $$
"""

MESSAGES = """
    CREATE SCHEMA realtime;
    CREATE TABLE realtime.messages (
        topic text NOT NULL, extension text NOT NULL, payload jsonb, event text, private boolean DEFAULT false,
        updated_at timestamp NOT NULL DEFAULT now(), inserted_at timestamp NOT NULL DEFAULT now(),
        id uuid NOT NULL DEFAULT gen_random_uuid(), binary_payload bytea, PRIMARY KEY (id, inserted_at)
    ) PARTITION BY RANGE (inserted_at);
    CREATE TABLE realtime.messages_all PARTITION OF realtime.messages FOR VALUES FROM (MINVALUE) TO (MAXVALUE);
    CREATE INDEX ON realtime.messages (topic);
    ALTER TABLE realtime.messages ENABLE ROW LEVEL SECURITY;
    CREATE FUNCTION realtime.topic() RETURNS text STABLE LANGUAGE sql
        AS $$ SELECT nullif(current_setting('realtime.topic', true), '') $$;
    GRANT USAGE ON SCHEMA realtime TO anon, authenticated, service_role;
    GRANT SELECT, INSERT, UPDATE ON realtime.messages TO anon, authenticated, service_role;
    CREATE SCHEMA auth;
    GRANT USAGE ON SCHEMA auth TO anon, authenticated, service_role;
    CREATE FUNCTION auth.jwt() RETURNS jsonb STABLE LANGUAGE sql
        AS $$ SELECT nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
    CREATE FUNCTION auth.uid() RETURNS uuid STABLE LANGUAGE sql
        AS $$ SELECT nullif(current_setting('request.jwt.claim.sub', true), '')::uuid $$;
"""


@pytest.fixture
def roles(cluster) -> None:
    """The roles `anon`, `authenticated` and `service_role`, which bypasses row level security."""
    with cluster.connect() as connection:
        connection.execute(ROLES)


@pytest.fixture
def private(database: Database, roles: None) -> Database:
    """A database with `realtime.messages`, and no policy on it yet."""
    database.execute(MESSAGES)
    return database
