"""What goes wrong with an endpoint or its spool is said, stays there, and leaves everybody else alone."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import json
import sqlite3
import ssl
import time
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fix_webhooks import Hooks, MakeHooks
from pgcast.devdb.template import Database
from realtime_client import RealtimeClient
from receiver import Receiver


def self_signed(folder: Path, name: str) -> tuple[Path, ssl.SSLContext]:
    """A certificate of 127.0.0.1 that only those trust who are told to, and a server's side of TLS with it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / f"{name}.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file = folder / f"{name}.key"
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key_file)
    return file, context


def test_certificates_are_verified(published: Database, make_hooks: MakeHooks, tmp_path: Path):
    trusted, good = self_signed(tmp_path, "good")
    _, bad = self_signed(tmp_path, "bad")
    with Receiver(tls=good) as right, Receiver(tls=bad) as wrong:
        hooks = make_hooks(
            published,
            {"config": {"endpoint": right.url()}, "name": "right"},
            {"config": {"endpoint": wrong.url()}, "name": "wrong"},
            SSL_CERT_FILE=str(trusted),
        )
        published.execute("insert into todos values (1)")
        assert right.wait_for(1)[0].row_ids == [1]
        line = hooks.wait_for_log("a webhook cannot be delivered")
        assert "the certificate of 127.0.0.1 is not valid: self-signed certificate" in line
        assert '"webhook": "wrong"' in line
        assert wrong.posts == []


def test_an_address_that_a_name_leads_to_is_refused(published: Database, make_hooks: MakeHooks):
    with Receiver() as receiver:
        hooks = make_hooks(
            published,
            {"config": {"endpoint": f"http://inside.localhost:{receiver.port}/"}, "name": "inside"},
        )
        published.execute("insert into todos values (1)")
        line = hooks.wait_for_log("a webhook cannot be delivered")
        # Not every resolver knows names below localhost.
        assert "is no public address; allow it with PGCAST_WEBHOOK_ALLOW=inside.localhost" in line or (
            "the name inside.localhost cannot be looked up" in line
        )
        assert receiver.posts == []


def test_a_damaged_spool_is_set_aside_and_a_new_one_begun(published: Database, make_hooks: MakeHooks):
    with Receiver() as receiver:
        hooks = make_hooks(published, {"config": {"endpoint": receiver.url()}, "name": "mine"})
        published.execute("insert into todos values (1)")
        receiver.wait_for(1)
        hooks.node.stop()
        (spool,) = (hooks.state / "webhooks").glob("*.sqlite")
        spool.write_bytes(b"this is no database" * 1000)
        hooks.node.start()
        assert str(spool) in hooks.wait_for_log("a webhook's spool is damaged")
        published.execute("insert into todos values (2)")
        while receiver.accepted[-1].row_ids != [2]:
            receiver.wait_for(len(receiver.accepted) + 1)
        assert len(list((hooks.state / "webhooks").glob("*.damaged-*"))) >= 1


async def test_a_spool_that_cannot_be_written_holds_up_nobody_and_heals(published: Database, make_hooks: MakeHooks):
    with Receiver() as receiver:
        hooks = make_hooks(published, {"config": {"endpoint": receiver.url()}, "name": "mine"})
        published.execute("insert into todos values (1)")
        receiver.wait_for(1)
        spool, kept = block(hooks)
        hooks.node.start()
        hooks.wait_for_log("a webhook's spool cannot be used")
        async with RealtimeClient(hooks.node.url) as client:
            await client.join("realtime:room", {"event": "*", "schema": "public", "table": "todos"})
            published.execute("insert into todos values (2)")
            assert (await client.change())["data"]["record"]["id"] == 2
        spool.rmdir()
        spool.write_bytes(kept)
        hooks.wait_for_log("a webhook's spool works again")
        while receiver.accepted[-1].row_ids != [2]:
            receiver.wait_for(len(receiver.accepted) + 1)


def test_a_full_spool_loses_its_oldest_and_says_so(published: Database, make_hooks: MakeHooks):
    with Receiver(lambda _number, _post: 500) as receiver:
        hooks = make_hooks(
            published,
            {"config": {"endpoint": receiver.url()}, "name": "mine"},
            PGCAST_WEBHOOK_SPOOL_MB="1",
            PGCAST_WEBHOOK_MAX_KB="200",
        )
        published.execute("insert into todos select n, repeat('x', 10000) from generate_series(1, 200) n")
        line = hooks.wait_for_log("a webhook's spool is full")
        assert "PGCAST_WEBHOOK_SPOOL_MB" in line
        while hooks.metric("pgcast_webhook_lost_changes_total", "mine") < 90:
            time.sleep(0.05)
        assert hooks.metric("pgcast_webhook_spool_bytes", "mine") <= 1 << 20
        receiver.answer = lambda _number, _post: 204
        while not receiver.accepted or receiver.accepted[-1].row_ids[-1] != 200:
            receiver.wait_for(len(receiver.accepted) + 1)
        got = [number for post in receiver.accepted for number in post.row_ids]
        lost = hooks.metric("pgcast_webhook_lost_changes_total", "mine")
        assert 90 <= lost < 130
        assert got[-1] == 200
        assert len(got) >= 200 - lost
        assert got == sorted(got)


def test_a_restart_delivers_what_waited_and_repeats_nothing_that_arrived(published: Database, make_hooks: MakeHooks):
    with Receiver() as receiver:
        hooks = make_hooks(published, {"config": {"endpoint": receiver.url()}, "name": "mine"})
        published.execute("insert into todos values (1)")
        receiver.wait_for(1)
        receiver.answer = lambda _number, _post: 503
        published.execute("insert into todos values (2)")
        receiver.wait_for_posts(2)
        hooks.node.stop()
        receiver.answer = lambda _number, _post: 204
        published.execute("insert into todos values (3)")
        hooks.node.start()
        receiver.wait_for(3)
        assert [post.row_ids for post in receiver.accepted] == [[1], [2], [3]]
        refused, accepted = receiver.posts[1], receiver.accepted[1]
        assert (refused.id, refused.body) == (accepted.id, accepted.body)


def test_what_waits_for_an_endpoint_that_is_not_configured_any_more_is_told_at_the_start(
    published: Database, make_hooks: MakeHooks
):
    with Receiver(lambda _number, _post: 503) as receiver:
        hooks = make_hooks(published, {"config": {"endpoint": receiver.url()}, "name": "old"})
        published.execute("insert into todos values (1)")
        receiver.wait_for_posts(1)
        hooks.node.stop()
        hooks.file.write_text(json.dumps({"webhooks": [{"config": {"endpoint": receiver.url()}, "name": "new"}]}))
        hooks.node.start()
        line = json.loads(hooks.wait_for_log("an endpoint that is not configured any more"))
        assert (line["webhook"], line["waiting"], line["dead"]) == ("old", 1, 0)


def test_a_database_that_was_restored_writes_other_changes_at_the_old_places(
    published: Database, make_hooks: MakeHooks
):
    with Receiver() as receiver:
        hooks = make_hooks(published, {"config": {"endpoint": receiver.url()}, "name": "mine"})
        published.execute("insert into todos values (1)")
        receiver.wait_for(1)
        hooks.node.stop()
        # As if it had been at this place before, and a copy of its disk from earlier were in use now.
        (file,) = (hooks.state / "webhooks").glob("*.sqlite")
        with contextlib.closing(sqlite3.connect(file)) as spool, spool:
            spool.execute(
                "update facts set value = substr(value, 1, 9) || '00ffffff00000000-00000000' where name = 'position'"
            )
        hooks.node.start()
        published.execute("insert into todos values (2)")
        while receiver.accepted[-1].row_ids != [2]:  # what the window held comes again as well
            receiver.wait_for(len(receiver.accepted) + 1)


def block(hooks: Hooks) -> tuple[Path, bytes]:
    """Stop the server and put a folder where its spool was: it cannot be opened. Return its place and content."""
    hooks.node.stop()
    (spool,) = (hooks.state / "webhooks").glob("*.sqlite")
    kept = spool.read_bytes()
    spool.unlink()
    spool.mkdir()
    return spool, kept


def write_megabytes(database: Database, first: int, count: int) -> None:
    database.execute(
        f"insert into todos select n, repeat(md5(n::text), 3200) from generate_series({first}, {first + count - 1}) n"
    )


def test_what_does_not_fit_into_memory_meanwhile_is_delivered_after_a_restart(
    published: Database, make_hooks: MakeHooks
):
    with Receiver() as receiver:
        hooks = make_hooks(published, {"config": {"endpoint": receiver.url()}, "name": "mine"})
        published.execute("insert into todos values (1)")
        receiver.wait_for(1)
        spool, kept = block(hooks)
        hooks.node.start()
        write_megabytes(published, 2, 10)
        hooks.wait_for_log("a webhook's spool cannot be used")
        write_megabytes(published, 12, 100)
        write_megabytes(published, 112, 1)
        time.sleep(0.5)
        spool.rmdir()
        spool.write_bytes(kept)
        hooks.wait_for_log("restart pgcast")
        assert hooks.metric("pgcast_webhook_skipped_changes", "mine") >= 1
        hooks.node.stop()
        hooks.node.start()
        while receiver.accepted[-1].row_ids[-1] != 112:
            receiver.wait_for(len(receiver.accepted) + 1)
        by_id = {post.id: post.row_ids for post in receiver.accepted}  # on a busy machine an answer may be late
        assert [number for rows in by_id.values() for number in rows] == list(range(1, 113)), hooks.node.log()


def test_a_spool_that_is_away_for_too_long_does_not_hold_the_wal_for_ever(published: Database, make_hooks: MakeHooks):
    with Receiver() as receiver:
        hooks = make_hooks(
            published,
            {"config": {"endpoint": receiver.url()}, "name": "mine"},
            PGCAST_WEBHOOK_SPOOL_MB="1",
            PGCAST_WINDOW_S="1",
        )
        published.execute("insert into todos values (1)")
        receiver.wait_for(1)
        spool, kept = block(hooks)
        hooks.node.start()
        published.execute("insert into todos values (2)")
        hooks.wait_for_log("a webhook's spool cannot be used")
        published.execute("create table others (a text); alter table others alter a set storage external")
        published.execute("insert into others select repeat('x', 100000) from generate_series(1, 40)")
        assert '"changes": ' in hooks.wait_for_log("could not be written for too long: changes are lost")
        last = published.execute("select pg_current_wal_lsn()::text")
        ends = time.monotonic() + 15
        while not published.execute(f"select 1 from pg_replication_slots where confirmed_flush_lsn >= '{last[0][0]}'"):
            assert time.monotonic() < ends
            time.sleep(0.1)
        spool.rmdir()
        spool.write_bytes(kept)
        hooks.wait_for_log("a webhook's spool works again")
        published.execute("insert into todos values (3)")
        while receiver.accepted[-1].row_ids != [3]:  # the one that was being written may arrive all the same
            receiver.wait_for(len(receiver.accepted) + 1)


def test_without_a_state_folder_deliveries_wait_where_programs_keep_their_state(
    published: Database, make_hooks: MakeHooks, tmp_path: Path
):
    with Receiver() as receiver:
        hooks = make_hooks(
            published,
            {"config": {"endpoint": receiver.url()}, "name": "mine"},
            PGCAST_STATE_DIR="",
            XDG_STATE_HOME=str(tmp_path / "states"),
        )
        published.execute("insert into todos values (1)")
        receiver.wait_for(1)
        folder = tmp_path / "states/pgcast" / hooks.node.environment["SLOT_NAME"] / "webhooks"
        assert str(folder) in hooks.wait_for_log("webhooks keep their deliveries in this folder")
        assert len(list(folder.glob("*.sqlite"))) == 1
