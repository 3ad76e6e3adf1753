"""The worker of `examples/05-worker`: killed ten times while orders come in, each order has one e-mail."""

from __future__ import annotations

import email
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from aiosmtpd.controller import Controller

from fix_node import clean_environment, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pgcast.devdb.template import Database

EXAMPLE = Path(__file__).parents[2] / "examples/05-worker"
KILLS = 10
EARLY = 300  # more than are worked off before the first kill
DEADLINE_S = 40.0


class Mailboxes:
    """A mail server's handler, whose mailboxes keep one message of each Message-ID."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self.kept: dict[str, str] = {}

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        del server, session
        message = email.message_from_bytes(envelope.content)
        self.accepted.append(message["Message-ID"])
        self.kept.setdefault(message["Message-ID"], envelope.rcpt_tos[0])
        return "250 OK"


@pytest.fixture
def mail() -> Iterator[tuple[Mailboxes, int]]:
    mailboxes, port = Mailboxes(), free_port()
    controller = Controller(mailboxes, hostname="127.0.0.1", port=port)
    controller.start()
    yield mailboxes, port
    controller.stop()


@pytest.mark.fault
def test_killed_ten_times_it_has_sent_one_e_mail_for_each_order(database: Database, mail: tuple[Mailboxes, int]):
    mailboxes, port = mail
    database.execute((EXAMPLE / "init.sql").read_text())
    database.execute(
        "insert into orders (email, item) select format('c%s@shop.example', g), 'what was there before'"
        f" from generate_series(1, {EARLY}) g"
    )
    environment = {
        **clean_environment(),
        "DATABASE_URL": database.dsn,
        "SMTP_HOST": "127.0.0.1",
        "SMTP_PORT": str(port),
    }
    orders = EARLY
    for number in range(KILLS + 1):
        with subprocess.Popen(
            [sys.executable, str(EXAMPLE / "worker.py")], env=environment, stdout=subprocess.PIPE, text=True
        ) as worker:
            try:
                assert worker.stdout is not None
                assert worker.stdout.readline() == "waiting for orders\n"
                for _ in range(10):
                    orders += 1
                    database.execute(f"insert into orders (email, item) values ('c{orders}@shop.example', 'tea')")
                if number < KILLS:
                    time.sleep(random.uniform(0, 0.15))
                else:
                    _wait_for(mailboxes, orders)
            finally:
                worker.kill()
    assert mailboxes.kept == {
        f"<order-{order}@shop.example>": f"c{order}@shop.example" for order in range(1, orders + 1)
    }
    repeats = {key: count for key, count in Counter(mailboxes.accepted).items() if count > 1}
    assert all(count == 2 for count in repeats.values()), "accepted, and killed before the key was kept"
    assert len(repeats) <= KILLS


def _wait_for(mailboxes: Mailboxes, count: int) -> None:
    ends = time.monotonic() + DEADLINE_S
    while len(mailboxes.kept) < count:
        assert time.monotonic() < ends, f"{len(mailboxes.kept)} of {count}"
        time.sleep(0.05)
