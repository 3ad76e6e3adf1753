"""From what Postgres refuses to our errors: what it means, and what to run.

Once connected, SQLSTATE decides. libpq hands out none for a refused start-up, so there the text does, in English; what
a server says in another language becomes the caller's own error, with the server's words.

Source: PostgreSQL, appendix "PostgreSQL Error Codes".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgcast.model.errors import ConnectionFailed, DatabaseError, NotPrepared, SlotBusy, SlotLost, StreamEnded

if TYPE_CHECKING:
    import psycopg

WAL_LEVEL_SQL: Final = "ALTER SYSTEM SET wal_level = 'logical';"


@dataclass(frozen=True, slots=True)
class Names:
    """What a message may name: the place as people write it, role, database, slot and publications, unquoted."""

    place: str
    role: str = ""
    database: str = ""
    slot: str = ""
    publications: tuple[str, ...] = ()


def quote_identifier(name: str) -> str:
    """Return a name as SQL and the replication commands read it, always in double quotes."""
    return '"' + name.replace('"', '""') + '"'


def quote_literal(text: str) -> str:
    """Return a string as SQL and the replication commands read it.

    The replication grammar knows no escape but the doubled quote, so a backslash stands for itself; so does SQL as long
    as standard_conforming_strings is on, its default.
    """
    return "'" + text.replace("'", "''") + "'"


@dataclass(frozen=True, slots=True)
class _Rule:
    """What a refusal means.

    Attributes:
        sqlstate: The code it has to have, if it has one.
        words: What the text has to contain; None for anything, which only a code can match.
        error: What to raise.
        hint: With the names to be filled in.
    """

    sqlstate: str | None
    words: re.Pattern[str] | None
    error: type[DatabaseError]
    hint: str


def _rule(sqlstate: str | None, words: str | None, error: type[DatabaseError], hint: str) -> _Rule:
    return _Rule(sqlstate, re.compile(words) if words else None, error, hint)


_CHECK_ADDRESS: Final = "is Postgres running there? look at DB_HOST and DB_PORT, or DATABASE_URL"
_TRIED_AGAIN: Final = "nothing to do: it is tried again until Postgres answers"

# The first that fits counts.
_RULES: Final = (
    # While connecting.
    _rule("42501", "start (walsender|WAL sender)", NotPrepared, "as a superuser: ALTER ROLE {role} WITH REPLICATION;"),
    _rule("42501", "for database", NotPrepared, "GRANT CONNECT ON DATABASE {database} TO {role};"),
    _rule(
        "3D000",
        '^database ".*" does not exist',
        ConnectionFailed,
        "CREATE DATABASE {database}; or name another one with DB_NAME or DATABASE_URL",
    ),
    _rule(
        "28000",
        "pg_hba.conf",
        ConnectionFailed,
        "add a line to the server's pg_hba.conf, such as: host {database} {role} all scram-sha-256"
        " (use hostssl with TLS), then SELECT pg_reload_conf();",
    ),
    _rule("28000", "not permitted to log in", ConnectionFailed, "ALTER ROLE {role} WITH LOGIN;"),
    _rule(
        "28000",
        '^role ".*" does not exist',
        ConnectionFailed,
        "CREATE ROLE {role} WITH LOGIN REPLICATION PASSWORD '...'; or name another one with DB_USER or DATABASE_URL",
    ),
    _rule("28P01", "authentication failed", ConnectionFailed, "check DB_USER and DB_PASSWORD, or DATABASE_URL"),
    _rule(None, "no password supplied", ConnectionFailed, "put it into DB_PASSWORD or DATABASE_URL"),
    _rule(
        "53300",
        "max_wal_senders",
        NotPrepared,
        "stop a replication client (SELECT pid, application_name, client_addr FROM pg_stat_replication;), or"
        " ALTER SYSTEM SET max_wal_senders = 20; and restart Postgres",
    ),
    _rule(
        "53300",
        "too many (clients|connections)|connection slots are reserved",
        ConnectionFailed,
        "close other connections, or ALTER SYSTEM SET max_connections = 200; and restart Postgres",
    ),
    _rule("57P03", "database system is|not yet accepting", ConnectionFailed, _TRIED_AGAIN),
    _rule(None, "Connection refused|No such file or directory", ConnectionFailed, _CHECK_ADDRESS),
    _rule(None, "resolve host|translate host name", ConnectionFailed, "check the host in DB_HOST or DATABASE_URL"),
    _rule(None, "timeout expired", ConnectionFailed, _CHECK_ADDRESS),
    _rule(
        None,
        "does not support SSL",
        ConnectionFailed,
        "the server has no TLS; DB_SSL=true (sslmode=prefer) uses it only where offered, false (disable) never does",
    ),
    _rule(
        None,
        "unsupported startup parameter",
        ConnectionFailed,
        "this looks like a pooler: connect to Postgres itself, poolers do not carry logical replication",
    ),
    # The slot.
    _rule("55000", "wal_level", NotPrepared, WAL_LEVEL_SQL + " and restart Postgres"),
    _rule(
        "55000",
        "not created in this database|physical replication slot",
        NotPrepared,
        "choose another SLOT_NAME, or drop the slot where it is not needed: SELECT pg_drop_replication_slot({slot});",
    ),
    _rule(
        "55000",
        "for logical decoding",
        ConnectionFailed,
        "this server is a standby that keeps a copy of the slot, which can be read once it is promoted: it is tried"
        " again until then; target_session_attrs=read-write in DATABASE_URL chooses the primary",
    ),
    _rule(
        "55000",
        "cannot read from logical|can no longer",
        SlotLost,
        "Postgres has removed WAL that the slot needed; only a new slot helps:"
        " SELECT pg_drop_replication_slot({slot}); changes since its last confirmation are lost."
        " max_slot_wal_keep_size says how much WAL a slot may keep",
    ),
    _rule(
        "53400",
        None,
        NotPrepared,
        "drop a slot that nobody needs (SELECT slot_name, active FROM pg_replication_slots;"
        " SELECT pg_drop_replication_slot('...');), or ALTER SYSTEM SET max_replication_slots = 20;"
        " and restart Postgres",
    ),
    _rule(
        "55006",
        None,
        SlotBusy,
        "stop the other consumer, or give this one a slot of its own with SLOT_NAME; if that consumer is gone,"
        " Postgres frees the slot after wal_sender_timeout. Who it is:"
        " SELECT s.active_pid, a.application_name, a.client_addr FROM pg_replication_slots s"
        " LEFT JOIN pg_stat_activity a ON a.pid = s.active_pid WHERE s.slot_name = {slot};",
    ),
    _rule(
        "42710",
        "replication slot",
        SlotBusy,
        "another consumer has just made it; give this one a slot of its own with SLOT_NAME",
    ),
    _rule(
        "42704",
        "replication slot",
        SlotLost,
        "it is made anew at the next start; changes since it was dropped are lost",
    ),
    # While reading.
    _rule(
        "42704",
        "publication",
        NotPrepared,
        "CREATE PUBLICATION {publication} FOR ALL TABLES; where it exists by now, the slot still reads WAL from before"
        " that: SELECT pg_replication_slot_advance({slot}, pg_current_wal_lsn()); skips it, and loses its changes",
    ),
    _rule(
        "0A000",
        "different (column lists|values of publish_generated_columns)",
        NotPrepared,
        "give the table the same columns in all of PUBLICATIONS: then the slot is made anew, for it still reads WAL"
        " from before that, and clients are told; or follow only one of them with PUBLICATIONS, which loses nothing",
    ),
    _rule(
        "22P05",
        None,
        StreamEnded,
        "nothing to do: the stream is read in the database's own encoding until it is opened anew, and what has no"
        " UTF-8 form comes as U+FFFD; a database in UTF8 has no such characters",
    ),
)

_QUOTED: Final = re.compile(r'publication "(.*)" does not exist')


def translate(error: psycopg.Error, names: Names, *, otherwise: type[DatabaseError]) -> DatabaseError:
    """Return what to raise for a driver error: one line, never a password.

    Args:
        error: As psycopg raised it, or made it from a result.
        names: For the message and the hint.
        otherwise: The error to return where no rule fits.
    """
    text = server_text(error)
    message = f"{names.place}: {text}"
    for rule in _RULES:
        if _fits(rule, error.sqlstate, text):
            return rule.error(message, hint=_fill(rule.hint, names, text))
    return otherwise(message)


def server_text(error: psycopg.Error) -> str:
    """Return what the server said, in one line, else what libpq said."""
    if error.diag.message_primary:
        text = error.diag.message_primary
    else:
        # After several addresses psycopg lists all failures; the last refusal of a server says most.
        _, fatal, refusal = str(error).rpartition("FATAL:")
        text = refusal.strip().partition("\n")[0] if fatal else str(error)
    return " ".join(text.split())


def _fits(rule: _Rule, sqlstate: str | None, text: str) -> bool:
    if sqlstate is None:
        return rule.words is not None and rule.words.search(text) is not None
    return rule.sqlstate == sqlstate and (rule.words is None or rule.words.search(text) is not None)


def _fill(hint: str, names: Names, text: str) -> str:
    found = _QUOTED.search(text)
    publication = found[1] if found else next(iter(names.publications), "")
    return hint.format(
        role=quote_identifier(names.role),
        database=quote_identifier(names.database),
        slot=quote_literal(names.slot),
        publication=quote_identifier(publication),
    )
