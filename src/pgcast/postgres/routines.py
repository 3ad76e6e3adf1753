"""The SQL functions that `pgcast init` makes: what triggers, policies and applications call.

Names, arguments and behaviour of those in `realtime` and `auth` are the realtime protocol's. Every one names what it
uses in full and pins its search_path, so that it does the same for whoever calls it; none runs with its owner's rights.

Source: PostgreSQL, chapters "CREATE FUNCTION" and "PL/pgSQL".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pgcast.model.messages import MESSAGE_PREFIX

MARK: Final = "pgcast: "
"""With this begins the comment on everything that `pgcast init` makes: what has none is somebody else's."""

UUIDS_FROM: Final = 130_000
RECORDS_FROM: Final = 110_000
MESSAGES_FROM: Final = 140_000


@dataclass(frozen=True, slots=True)
class Routine:
    """One function.

    Attributes:
        schema: Where.
        name: Its name.
        arguments: As CREATE FUNCTION has them.
        types: The arguments' types alone, which identify it.
        returns: Its type.
        body: What stands between the quotes.
        comment: What it is for, in a few words.
        language: `sql` or `plpgsql`.
        is_stable: Whether it only reads settings.
    """

    schema: str
    name: str
    arguments: str
    types: str
    returns: str
    body: str
    comment: str
    language: str = "plpgsql"
    is_stable: bool = False

    @property
    def signature(self) -> str:
        """Its name and the types of its arguments, as `to_regprocedure` reads them."""
        return f"{self.schema}.{self.name}({self.types})"

    def statements(self) -> list[str]:
        """Return what makes it, or replaces it."""
        head = f"CREATE OR REPLACE FUNCTION {self.schema}.{self.name}({self.arguments}) RETURNS {self.returns}"
        volatility = " STABLE" if self.is_stable else ""
        return [
            f"{head}\nLANGUAGE {self.language}{volatility} SET search_path = '' AS $body${self.body}$body$;",
            f"COMMENT ON FUNCTION {self.signature} IS '{MARK}{self.comment}';",
        ]


def new_id(server_version: int) -> str:
    """Return the expression that makes a UUID; Postgres has a function of its own from 13 on."""
    if server_version >= UUIDS_FROM:
        return "gen_random_uuid()"
    return "md5(random()::text || clock_timestamp()::text)::uuid"


def realtime_routines(server_version: int) -> list[Routine]:
    """Return the functions of the schema `realtime`.

    Below version 11 a function cannot take a record of any type; there `new` and `old` have the type of the row.
    """
    row = "record" if server_version >= RECORDS_FROM else "anyelement"
    return [
        Routine(
            "realtime",
            "topic",
            "",
            "",
            "text",
            "\n    SELECT nullif(current_setting('realtime.topic', true), '')\n",
            "the topic that a policy is asked about",
            language="sql",
            is_stable=True,
        ),
        Routine(
            "realtime",
            "send",
            "payload jsonb, event text, topic text, private boolean DEFAULT true",
            "jsonb, text, text, boolean",
            "void",
            _SEND.replace("<new id>", new_id(server_version)),
            "broadcast a JSON message when the transaction commits",
        ),
        Routine(
            "realtime",
            "send_binary",
            "payload bytea, event text, topic text, private boolean DEFAULT true",
            "bytea, text, text, boolean",
            "void",
            _SEND_BINARY,
            "broadcast bytes when the transaction commits",
        ),
        Routine(
            "realtime",
            "broadcast_changes",
            "topic_name text, event_name text, operation text, table_name text, table_schema text, "
            f"new {row}, old {row}, level text DEFAULT 'ROW'",
            f"text, text, text, text, text, {row}, {row}, text",
            "void",
            _BROADCAST_CHANGES,
            "broadcast a row change from a trigger",
        ),
    ]


def auth_routines() -> list[Routine]:
    """Return the functions of the schema `auth`, by which policies ask who somebody is."""
    return [
        Routine(
            "auth",
            name,
            "",
            "",
            returns,
            body,
            f"{what} of the client that a policy is asked about",
            language="sql",
            is_stable=True,
        )
        for name, returns, body, what in (
            ("jwt", "jsonb", f"\n    SELECT {_CLAIMS}\n", "the claims"),
            ("uid", "uuid", _claim("sub", "uuid"), "the claim sub"),
            ("role", "text", _claim("role", "text"), "the claim role"),
        )
    ]


def send_routine() -> Routine:
    """Return `pgcast.send`; from version 14 on, where messages without a table reach us."""
    return Routine(
        "pgcast",
        "send",
        "topic text, event text, payload jsonb, private boolean DEFAULT true",
        "text, text, jsonb, boolean",
        "void",
        _SEND_UNSTORED,
        "broadcast a JSON message when the transaction commits, and store it nowhere",
    )


_CLAIMS: Final = "nullif(current_setting('request.jwt.claims', true), '')::jsonb"


def _claim(name: str, type_name: str) -> str:
    return (
        f"\n    SELECT coalesce(nullif(current_setting('request.jwt.claim.{name}', true), ''), "
        f"{_CLAIMS} ->> '{name}')::{type_name}\n"
    )


_SEND: Final = """
DECLARE
    new_id uuid;
BEGIN
    new_id := <new id>;
    IF jsonb_typeof(payload) = 'object' AND NOT payload ? 'id' THEN
        payload := payload || jsonb_build_object('id', new_id);
    END IF;
    PERFORM set_config('realtime.topic', topic, true);
    INSERT INTO realtime.messages (id, topic, extension, event, payload, private)
    VALUES (new_id, topic, 'broadcast', event, payload, private);
EXCEPTION WHEN OTHERS THEN
    -- A message that cannot be sent does not break the transaction that wanted to send it.
    RAISE WARNING 'WarnSendingBroadcastMessage: %', SQLERRM;
END
"""

_SEND_BINARY: Final = """
BEGIN
    PERFORM set_config('realtime.topic', topic, true);
    INSERT INTO realtime.messages (topic, extension, event, binary_payload, private)
    VALUES (topic, 'broadcast', event, payload, private);
EXCEPTION WHEN OTHERS THEN
    -- A message that cannot be sent does not break the transaction that wanted to send it.
    RAISE WARNING 'WarnSendingBroadcastMessage: %', SQLERRM;
END
"""

_BROADCAST_CHANGES: Final = """
BEGIN
    IF level = 'STATEMENT' THEN
        RAISE EXCEPTION 'function can only be triggered for each row, not for each statement';
    END IF;
    IF operation IS NULL OR operation NOT IN ('INSERT', 'UPDATE', 'DELETE') THEN
        RAISE EXCEPTION 'Unexpected operation type: %', operation;
    END IF;
    PERFORM realtime.send(
        jsonb_build_object(
            'schema', table_schema,
            'table', table_name,
            'operation', operation,
            'record', CASE WHEN operation <> 'DELETE' THEN to_jsonb(new) END,
            'old_record', CASE WHEN operation <> 'INSERT' THEN to_jsonb(old) END
        ),
        event_name,
        topic_name
    );
EXCEPTION WHEN OTHERS THEN
    RAISE EXCEPTION 'Failed to process the row: %', SQLERRM;
END
"""

_SEND_UNSTORED: Final = f"""
BEGIN
    IF topic IS NULL OR event IS NULL OR payload IS NULL THEN
        RAISE WARNING 'WarnSendingBroadcastMessage: topic, event and payload must not be null';
        RETURN;
    END IF;
    PERFORM pg_logical_emit_message(
        true,
        '{MESSAGE_PREFIX}',
        jsonb_build_object(
            'id', gen_random_uuid(), 'topic', topic, 'event', event, 'payload', payload, 'private', private
        )::text
    );
END
"""
