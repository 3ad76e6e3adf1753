from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from making import INT8, NUMERIC, TEXT, change, table, transaction

from pgcast.engine.joins import Since, entries_of, legacy_entries_of, parse_since, split_legacy_topic, start_of
from pgcast.engine.ports import PublishedTable
from pgcast.fanout.window import Window
from pgcast.matching.conditions import Condition
from pgcast.model.binding import Binding
from pgcast.model.change import Kind
from pgcast.model.errors import BindingError
from pgcast.model.lsn import Lsn
from pgcast.model.position import Position
from pgcast.model.relation import Relation, Table, TypeShape
from pgcast.model.snapshot import Snapshot

EPOCH = "0a0b0c0d"
JSON = TypeShape(114, "json")


class MemoryCatalog:
    """A catalog that knows a few tables, and casts as Python does."""

    def __init__(self, new: Sequence[PublishedTable] = ()) -> None:
        self.asked: list[str] = []
        self.fresh_answers = 0
        self._new = new

    async def published_tables(self, *, is_fresh: bool = False) -> list[PublishedTable]:
        self.fresh_answers += is_fresh
        return [
            *(self._new if is_fresh else ()),
            PublishedTable(1, "public", "todos", (("id", INT8), ("price", NUMERIC), ("data", JSON))),
            PublishedTable(2, "public", "users", (("id", TEXT),)),
            PublishedTable(3, "a:b", "c:d", (("id", INT8),)),
        ]

    async def canonical_text(self, type_shape: TypeShape, text: str) -> bytes:
        self.asked.append(text)
        if type_shape == NUMERIC:
            try:
                return str(float(text)).encode()
            except ValueError:
                raise BindingError(f'invalid input syntax for type numeric: "{text}"') from None
        raise BindingError("invalid")

    async def describe(self, relation: Relation) -> Table:
        raise AssertionError(relation)

    async def snapshot(self) -> Snapshot:
        raise AssertionError

    async def close(self) -> None:
        """Nothing is open."""


def binding(**more: object) -> Binding:
    return Binding(**{"id": 1, "event": None, "schema": "public", "table": "todos", **more})  # type: ignore[arg-type]


async def test_a_binding_becomes_an_entry():
    (entry,) = await entries_of([binding(event=Kind.INSERT, filter="id=eq.5")], MemoryCatalog())
    assert (entry.schema, entry.table, entry.kinds) == ("public", "todos", {Kind.INSERT})
    assert entry.conditions == (Condition("id", "eq", ("5",), canonical=((20, (b"5",)),)),)


NEW = PublishedTable(4, "public", "new", (("id", INT8),))


async def test_a_table_that_the_last_answer_lacks_is_asked_for_anew():
    catalog = MemoryCatalog([NEW])
    (entry,) = await entries_of([binding(table="new", filter="id=eq.5")], catalog)
    assert entry.conditions == (Condition("id", "eq", ("5",), canonical=((20, (b"5",)),)),)
    assert catalog.fresh_answers == 1


async def test_a_column_that_the_last_answer_lacks_is_asked_for_anew():
    catalog = MemoryCatalog([PublishedTable(1, "public", "todos", (("added", INT8),))])
    (entry,) = await entries_of([binding(filter="added=eq.5")], catalog)
    assert entry.conditions == (Condition("added", "eq", ("5",), canonical=((20, (b"5",)),)),)


async def test_a_known_table_costs_no_question():
    catalog = MemoryCatalog([NEW])
    await entries_of([binding()], catalog)
    await legacy_entries_of("public:todos:id=eq.5", catalog)
    await legacy_entries_of("public:new", catalog)
    assert catalog.fresh_answers == 0


async def test_an_old_topic_with_a_value_finds_a_table_that_the_last_answer_lacks():
    (entry,) = await legacy_entries_of("public:new:id=eq.5", MemoryCatalog([NEW]))
    assert (entry.schema, entry.table) == ("public", "new")
    assert entry.conditions == (Condition("id", "eq", ("5",), canonical=((20, (b"5",)),)),)


async def test_a_truncate_is_never_asked_for():
    (entry,) = await entries_of([binding()], MemoryCatalog())
    assert entry.kinds == {Kind.INSERT, Kind.UPDATE, Kind.DELETE}


async def test_a_filter_value_is_cast_by_the_database():
    (entry,) = await entries_of([binding(filter="price=eq.1e1")], MemoryCatalog())
    assert entry.conditions == (Condition("price", "eq", ("1e1",), canonical=((1700, (b"10.0",)),)),)


async def test_a_wildcard_with_a_filter_takes_every_table_that_has_the_column():
    catalog = MemoryCatalog()
    (entry,) = await entries_of([binding(table=None, filter="id=eq.7")], catalog)
    assert entry.conditions == (Condition("id", "eq", ("7",), canonical=((20, (b"7",)), (25, (b"7",)))),)
    assert catalog.asked == []


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            binding(table="nope"),
            r"for the given connect parameters: \[event: \*, schema: public, table: nope, filters: ",
        ),
        (binding(filter="nope=eq.1"), "Exception: invalid column for filter nope"),
        (binding(filter="price=eq.x"), 'Exception: invalid input syntax for type numeric: "x"'),
        (binding(filter="data=eq.{}"), "Exception: operator eq does not exist for type json"),
        (binding(table=None, filter="nope=eq.1"), "invalid column for filter nope"),
        (binding(filter="id"), "Error parsing `filter` params"),
        (binding(select=("id", "nope")), "Exception: invalid column for select nope"),
    ],
)
async def test_what_cannot_be_served_is_said(asked: Binding, message: str):
    with pytest.raises(BindingError, match=message):
        await entries_of([asked], MemoryCatalog())


@pytest.mark.parametrize(
    ("rest", "parts"),
    [
        ("*", (None, None, None)),
        ("public", ("public", None, None)),
        ("public:todos", ("public", "todos", None)),
        ("public:todos:id=eq.5", ("public", "todos", "id=eq.5")),
        ("public:todos:at=eq.10:30:00", ("public", "todos", "at=eq.10:30:00")),
        ("public:unknown:id=eq.5", ("public", "unknown", "id=eq.5")),
        ("nowhere", ("nowhere", None, None)),
        ("a:b", ("a:b", None, None)),
        ("a:b:c:d", ("a:b", "c:d", None)),
        ("a:b:c:d:id=eq.5", ("a:b", "c:d", "id=eq.5")),
        ("a:x", ("a", "x", None)),
        ("*:todos", ("*", "todos", None)),
    ],
)
def test_an_old_topic_is_split_by_what_exists(rest: str, parts: tuple[str | None, ...]):
    tables = [("public", "todos"), ("public", "users"), ("a:b", "c:d"), ("a", "b")]
    assert split_legacy_topic(rest, tables) == parts


async def test_an_old_topic_with_a_table_gets_truncates_and_one_with_a_value_does_not():
    catalog = MemoryCatalog()
    (whole,) = await legacy_entries_of("public:todos", catalog)
    (filtered,) = await legacy_entries_of("public:todos:id=eq.5", catalog)
    assert Kind.TRUNCATE in whole.kinds
    assert Kind.TRUNCATE not in filtered.kinds
    assert filtered.conditions == (Condition("id", "eq", ("5",), canonical=((20, (b"5",)),)),)


@pytest.mark.parametrize(
    "rest", ["public:todos:id", "public:todos:=eq.5", "public:todos:price=eq.x", "public:todos:id=gt.5"]
)
async def test_an_old_topic_that_can_never_match_is_no_error(rest: str):
    assert await legacy_entries_of(rest, MemoryCatalog()) == ()


def test_a_since_is_a_position_or_a_time():
    assert parse_since("5f0c2a9e-000000000a3b4c58-0000002a") == Since(Position("5f0c2a9e", Lsn(0x0A3B4C58), 0x2A))
    moment = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    in_us = round(moment.timestamp() * 1_000_000)
    for text in ("2026-01-02T03:04:05.678Z", "2026-01-02 03:04:05.678", "2026-01-02T04:04:05.678+01:00"):
        assert parse_since(text) == Since(committed_us=in_us)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-01T00:00:00Z", "5F0C2A9E-000000000A3B4C58-0000002A", "1-2-3"]
)
def test_what_is_neither_is_refused(text: str):
    with pytest.raises(BindingError, match="Error parsing `since` params: "):
        parse_since(text)


def filled() -> Window:
    window = Window(1 << 20, 60)
    for commit_lsn in (100, 200, 300):
        window.append(change(transaction(commit_lsn)), 50, 0)
        window.commit(Lsn(commit_lsn + 5))
    return window


def snapshot(xmax: int = 1000, running: tuple[int, ...] = (), insert_lsn: int = 400) -> Snapshot:
    return Snapshot(min(running, default=xmax), xmax, frozenset(running), Lsn(insert_lsn))


def delivered(window: Window, asked: str | None, seen: Snapshot | None, joined_at: int = 3) -> list[int]:
    start = start_of([(1, asked)], seen, window, EPOCH, joined_at)
    rule = (start.reading.rules or {}).get(1)
    changes = window.changes_from(start.reading.at, 100)
    return [one.transaction.commit_lsn for one in changes if rule is None or rule(one)]


def test_a_join_gets_what_its_snapshot_does_not_see():
    assert delivered(filled(), None, snapshot()) == []
    assert delivered(filled(), None, snapshot(running=(200,))) == [200]
    assert delivered(filled(), None, snapshot(xmax=250)) == [300]


def test_a_join_without_a_snapshot_gets_what_came_since_it_arrived():
    assert delivered(filled(), None, None, joined_at=1) == [200, 300]


def test_a_position_gets_what_came_after_it_and_a_time_what_came_at_it():
    assert delivered(filled(), str(Position(EPOCH, Lsn(100), 0)), snapshot()) == [200, 300]
    start = start_of([(1, "1970-01-01T00:00:00.000Z")], snapshot(), filled(), EPOCH, 3)
    assert start.has_gap


@pytest.mark.parametrize(
    "position", [Position("ffffffff", Lsn(100), 0), Position(EPOCH, Lsn(401), 0), Position(EPOCH, Lsn(0), 0)]
)
def test_another_database_the_future_and_what_is_gone_are_gaps(position: Position):
    window = filled()
    window.restart((1, 0))
    window.append(change(transaction(350)), 50, 0)
    start = start_of([(1, str(position))], snapshot(), window, EPOCH, window.end)
    assert start.has_gap
    assert start.reading.at == window.start


def test_of_bindings_that_share_an_id_the_one_that_wants_more_decides():
    window = filled()
    position = str(Position(EPOCH, Lsn(100), 0))
    for asked in ([(1, None), (1, position)], [(1, position), (1, None)]):
        start = start_of(asked, snapshot(), window, EPOCH, 3)
        assert start.reading.rules is not None
        assert start.reading.rules[1](window.changes_from(1, 1)[0])


def test_a_time_is_reached_once_and_stays_reached():
    window = Window(1 << 20, 60)
    for commit_lsn, committed_us in ((100, 10_000), (200, 30_000), (300, 20_000)):
        window.append(change(transaction(commit_lsn, committed_us=committed_us)), 50, 0)
        window.commit(Lsn(commit_lsn + 5))
    assert delivered(window, "1970-01-01T00:00:00.030Z", snapshot()) == [200, 300]
    assert not start_of([(1, "1970-01-01T00:00:00.030Z")], snapshot(), window, EPOCH, 3).reading.sees_all


def test_a_time_that_is_still_to_come_is_looked_for_in_every_change():
    window = filled()
    start = start_of([(1, "2026-01-01T00:00:00.000Z")], snapshot(), window, EPOCH, 3)
    assert (start.reading.at, start.reading.sees_all, start.has_gap) == (window.end, True, False)


def test_who_names_the_time_of_the_last_change_that_is_gone_gets_all_that_is_held():
    """Also what was committed a moment earlier by the clock, and later in the WAL."""
    window = Window(1 << 20, 60)
    for commit_lsn, committed_us in ((100, 30_000), (200, 29_000), (300, 40_000)):
        window.append(change(transaction(commit_lsn, committed_us=committed_us)), 50, now_s=commit_lsn)
        window.commit(Lsn(commit_lsn + 5))
    window.trim(170)
    assert window.place_before(window.start) == (100, 0)
    assert delivered(window, "1970-01-01T00:00:00.030Z", snapshot()) == [200, 300]


def test_a_time_that_was_reached_by_a_change_of_another_table_is_reached():
    window = Window(1 << 20, 60)
    others = table("others", with_oid=2)
    for commit_lsn, committed_us, on in ((100, 10_000, None), (200, 30_000, others), (300, 29_000, None)):
        window.append(change(transaction(commit_lsn, committed_us=committed_us), on=on), 50, 0)
        window.commit(Lsn(commit_lsn + 5))
    start = start_of([(1, "1970-01-01T00:00:00.030Z")], snapshot(), window, EPOCH, 3)
    (last,) = window.changes_from(2, 1)
    assert (start.reading.rules or {})[1](last), "though it is the first that this entry is asked about"


def test_a_time_that_is_not_reached_yet_is_waited_for():
    window = filled()
    start = start_of([(1, "1970-01-01T00:00:00.030Z")], snapshot(xmax=10), window, EPOCH, 3)
    rule = (start.reading.rules or {})[1]
    late = [change(transaction(lsn, committed_us=us)) for lsn, us in ((400, 29_000), (500, 30_000), (600, 29_000))]
    assert [rule(one) for one in late] == [False, True, True]
