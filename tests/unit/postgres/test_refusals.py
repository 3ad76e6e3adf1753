from __future__ import annotations

import psycopg
import pytest
from psycopg import errors

from pgcast.model.errors import ConnectionFailed, DatabaseError, NotPrepared, SlotBusy, SlotLost, StreamEnded
from pgcast.postgres.refusals import Names, quote_identifier, quote_literal, server_text, translate

NAMES = Names(place="ada@db:5432/app", role='a"da', database="app", slot="pgcast", publications=("first", "second"))


def refused_at_start_up(text: str) -> psycopg.OperationalError:
    """Return what psycopg raises: libpq has no SQLSTATE for a refused start-up."""
    return psycopg.OperationalError(
        f'connection failed: connection to server at "127.0.0.1", port 5432 failed: FATAL:  {text}\n'
    )


def refused(sqlstate: str, text: str) -> psycopg.Error:
    return errors.lookup(sqlstate)(text)


@pytest.mark.parametrize(
    ("text", "kind", "hint"),
    [
        (
            "must be superuser or replication role to start walsender",
            NotPrepared,
            'ALTER ROLE "a""da" WITH REPLICATION;',
        ),
        ("permission denied to start WAL sender", NotPrepared, 'ALTER ROLE "a""da" WITH REPLICATION;'),
        ('permission denied for database "app"', NotPrepared, 'GRANT CONNECT ON DATABASE "app" TO "a""da";'),
        ('database "app" does not exist', ConnectionFailed, 'CREATE DATABASE "app";'),
        ('role "ada" does not exist', ConnectionFailed, 'CREATE ROLE "a""da" WITH LOGIN REPLICATION'),
        ('role "ada" is not permitted to log in', ConnectionFailed, 'ALTER ROLE "a""da" WITH LOGIN;'),
        (
            'no pg_hba.conf entry for host "10.0.0.1", user "ada", database "app", no encryption',
            ConnectionFailed,
            "reload_conf",
        ),
        ('password authentication failed for user "ada"', ConnectionFailed, "DB_PASSWORD"),
        (
            "number of requested standby connections exceeds max_wal_senders (currently 1)",
            NotPrepared,
            "ALTER SYSTEM SET max_wal_senders",
        ),
        (
            'number of requested standby connections exceeds "max_wal_senders" (currently 1)',
            NotPrepared,
            "ALTER SYSTEM SET max_wal_senders",
        ),
        ("sorry, too many clients already", ConnectionFailed, "max_connections"),
        (
            "remaining connection slots are reserved for roles with the SUPERUSER attribute",
            ConnectionFailed,
            "max_connections",
        ),
        ('too many connections for role "ada"', ConnectionFailed, "max_connections"),
        ("the database system is shutting down", ConnectionFailed, "tried again"),
        ("the database system is starting up", ConnectionFailed, "tried again"),
        ("the database system is not yet accepting connections", ConnectionFailed, "tried again"),
        ("unsupported startup parameter in options: datestyle", ConnectionFailed, "pooler"),
        ("Passwort-Authentifizierung für Benutzer »ada« fehlgeschlagen", ConnectionFailed, ""),
    ],
)
def test_a_refused_start_up_is_known_by_its_text(text, kind, hint):
    error = translate(refused_at_start_up(text), NAMES, otherwise=ConnectionFailed)
    assert type(error) is kind
    assert error.message == f"ada@db:5432/app: {text}"
    assert hint in error.hint
    assert bool(error.hint) == bool(hint)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("connection failed: fe_sendauth: no password supplied", "DB_PASSWORD"),
        ("connection failed: Connection refused\n\tIs the server running?", "DB_HOST"),
        ("failed to resolve host 'db': [Errno -2] Name or service not known", "check the host"),
        ("connection timeout expired", "DB_HOST"),
        ("server does not support SSL, but SSL was required", "DB_SSL"),
    ],
)
def test_what_libpq_says_itself_is_known_by_its_text(text, hint):
    error = translate(psycopg.OperationalError(text), NAMES, otherwise=ConnectionFailed)
    assert type(error) is ConnectionFailed
    assert "\n" not in error.message
    assert "\t" not in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("sqlstate", "text", "kind", "hint"),
    [
        (
            "55000",
            "logical decoding requires wal_level >= logical",
            NotPrepared,
            "SET wal_level = 'logical'; and restart",
        ),
        ("55000", 'replication slot "pgcast" was not created in this database', NotPrepared, "SLOT_NAME"),
        ("55000", "cannot use physical replication slot for logical decoding", NotPrepared, "SLOT_NAME"),
        (
            "55000",
            'cannot read from logical replication slot "pgcast"',
            SlotLost,
            "pg_drop_replication_slot('pgcast');",
        ),
        ("55000", 'can no longer get changes from replication slot "pgcast"', SlotLost, "max_slot_wal_keep_size"),
        ("55000", 'can no longer access replication slot "pgcast"', SlotLost, "max_slot_wal_keep_size"),
        ("55000", 'cannot use replication slot "pgcast" for logical decoding', ConnectionFailed, "promoted"),
        ("53400", "all replication slots are in use", NotPrepared, "ALTER SYSTEM SET max_replication_slots"),
        ("53400", "tous les slots de réplication sont utilisés", NotPrepared, "ALTER SYSTEM SET max_replication_slots"),
        ("55006", 'replication slot "pgcast" is active for PID 7', SlotBusy, "slot_name = 'pgcast';"),
        ("42704", 'replication slot "pgcast" does not exist', SlotLost, "made anew"),
        ("42704", 'publication "second" does not exist', NotPrepared, 'CREATE PUBLICATION "second" FOR ALL TABLES;'),
        ("42710", 'replication slot "pgcast" already exists', SlotBusy, "SLOT_NAME"),
        (
            "0A000",
            'cannot use different column lists for table "public.t" in different publications',
            NotPrepared,
            "the same columns",
        ),
        (
            "22P05",
            'character with byte sequence 0x81 in encoding "WIN1252" has no equivalent in encoding "UTF8"',
            StreamEnded,
            "comes as U+FFFD",
        ),
        ("57P01", "terminating connection due to administrator command", StreamEnded, ""),
        ("XX000", "unrecognized pgoutput option: streaming", StreamEnded, ""),
    ],
)
def test_a_refused_command_is_known_by_its_sqlstate(sqlstate, text, kind, hint):
    error = translate(refused(sqlstate, text), NAMES, otherwise=StreamEnded)
    assert type(error) is kind
    assert error.message == f"ada@db:5432/app: {text}"
    assert hint in error.hint


def test_words_decide_nothing_against_a_sqlstate():
    error = translate(refused("42601", "Connection refused"), NAMES, otherwise=DatabaseError)
    assert type(error) is DatabaseError


def test_of_several_addresses_the_refusal_is_told_and_not_the_list():
    error = psycopg.OperationalError(
        'connection failed: connection to server at "127.0.0.1", port 5432 failed: FATAL:  role "ada" does not exist\n'
        "Multiple connection attempts failed. All failures were:\n"
        "- host: 'localhost', port: '5432', hostaddr: '::1': connection failed: Connection refused\n"
        "- host: 'localhost', port: '5432', hostaddr: '127.0.0.1': connection failed: "
        'connection to server at "127.0.0.1", port 5432 failed: FATAL:  role "ada" does not exist\n'
    )
    assert server_text(error) == 'role "ada" does not exist'


def test_quoting_doubles_quotes_and_nothing_else():
    assert quote_identifier("a\"b\\c'") == '"a""b\\c\'"'
    assert quote_literal('it\'s \\ "x"') == "'it''s \\ \"x\"'"
