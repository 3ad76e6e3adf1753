from __future__ import annotations

from making import change, table, transaction

from pgcast.engine.relays import Relays
from pgcast.model.lsn import Lsn
from pgcast.wal.messages import Begin, LogicalMessage
from pgcast.wal.progress import Progress

TODOS = table()


def message(lsn: int, *, transactional: bool = True, prefix: str = "p") -> LogicalMessage:
    return LogicalMessage(transactional, Lsn(lsn), prefix, str(lsn).encode())


def test_rows_go_to_who_watches_their_table():
    relays, taken = Relays(), []
    relays.on_insert["public", "todos"] = taken.append
    assert relays.watches(TODOS)
    assert not relays.watches(table("other"))
    one = change(transaction(100), on=TODOS)
    relays.take_insert(one, Lsn(100))
    relays.take_insert(change(transaction(100), on=table("other")), Lsn(100))
    assert taken == [one]


def test_messages_go_to_who_knows_their_prefix_once():
    relays, taken, progress = Relays(), [], Progress()
    relays.on_message["p"] = lambda content, xid: taken.append((content, xid))
    for one in (message(90), message(91, prefix="q"), message(90), message(92, transactional=False)):
        relays.take_message(one, progress, Begin(Lsn(100), 0, 7))
    assert taken == [(b"90", 7), (b"92", None)]


def test_what_lies_before_the_start_is_past():
    relays, taken, progress = Relays(), [], Progress()
    relays.on_message["p"] = lambda content, _: taken.append(content)
    relays.on_insert["public", "todos"] = taken.append
    relays.since = Lsn(100)
    relays.take_insert(change(transaction(99), on=TODOS), Lsn(99))
    relays.take_message(message(98, transactional=False), progress, Begin(Lsn(99), 0, 7))
    relays.take_message(message(98), progress, Begin(Lsn(99), 0, 7))
    relays.take_message(message(97), progress, Begin(Lsn(100), 0, 7))
    assert taken == [b"97"], "it was committed at the start, wherever it stands"


async def test_without_a_basin_there_is_always_room():
    await Relays().make_room()
