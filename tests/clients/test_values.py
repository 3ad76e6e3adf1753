"""One value of each type, as the applications of each official client get it.

The server sends typed JSON. The Python client hands it on; the JavaScript clients convert once more, by
`columns[].type`, which must leave it as it is. To the oldest client the server can also send PostgreSQL's text, which
that client then converts as well as it can.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from fix_clients import CLIENTS, REALTIME_JS_1_7, Client, application
from fix_node import Node, NodeFactory
from pgcast.devdb.template import Database

if TYPE_CHECKING:
    from collections.abc import Callable

_SAME: Any = object()


@dataclass(frozen=True)
class Value:
    """A value, and what comes of it.

    Attributes:
        name: Of its column.
        type: In SQL.
        literal: In SQL.
        json: What the server sends.
        javascript: What JavaScript makes of it.
        from_text: What the oldest client makes of PostgreSQL's text.
    """

    name: str
    type: str
    literal: str
    json: Any
    javascript: Any = _SAME
    from_text: Any = _SAME

    def expected(self, client: Client, *, as_text: bool = False) -> Any:
        found = self.json
        if not client.is_python:
            found = found if self.javascript is _SAME else self.javascript
            found = found if not as_text or self.from_text is _SAME else self.from_text
        return found


TYPES = """
    create type mood as enum ('happy', 'so so');
    create type pair as (x int4, y text, z bool);
    create domain score as int4 check (value > 0);
    create domain word as text;
"""

ODD_TEXT = "é \" \\ ' \t\n🎉  {a,b}"

VALUES = (
    Value("small", "int2", "-32768", -32768),
    Value("whole", "int4", "2147483647", 2147483647),
    Value("big", "int8", "-9007199254740991", -9007199254740991),
    # Too large for JavaScript's only kind of number.
    Value("bigger", "int8", "9007199254740993", 9007199254740993, javascript=9007199254740992),
    Value("price", "numeric(10,3)", "12.340", 12.34),
    Value("huge", "numeric", "123456789012345678901234567890.5", 123456789012345678901234567890.5),
    Value("tiny", "numeric", "0.000000000000000000001", 1e-21),
    Value("no_number", "numeric", "'NaN'", None, from_text="NaN"),
    Value("single", "float4", "1.5", 1.5),
    Value("double", "float8", "0.1", 0.1),
    Value("exponent", "float8", "1e300", 1e300),
    # JavaScript reads the text as its own Infinity, which the program that listens cannot print as JSON.
    Value("endless", "float8", "'-Infinity'", None),
    Value("yes", "bool", "true", True),
    Value("no", "bool", "false", False),
    Value("words", "text", f"$${ODD_TEXT}$$", ODD_TEXT),
    Value("empty", "text", "''", ""),
    Value("like_an_array", "text", "'{1,2}'", "{1,2}"),
    Value("like_a_bool", "text", "'t'", "t"),
    Value("like_json", "varchar(20)", "'[1, 2]'", "[1, 2]"),
    Value("padded", "char(5)", "'ab'", "ab   "),
    Value("one_char", '"char"', "'x'", "x"),
    Value("identifier", "name", "'todos'", "todos"),
    Value("id128", "uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    Value("day", "date", "'2026-01-02'", "2026-01-02"),
    Value("day_bc", "date", "'0044-03-15 BC'", "0044-03-15 BC"),
    Value("clock", "time", "'03:04:05.678'", "03:04:05.678"),
    Value("clock_tz", "timetz", "'03:04:05+02'", "03:04:05+02"),
    Value("moment", "timestamp", "'2026-01-02 03:04:05.678'", "2026-01-02T03:04:05.678"),
    Value(
        "moment_tz",
        "timestamptz",
        "'2026-01-02 03:04:05.678+02'",
        "2026-01-02T01:04:05.678+00:00",
        from_text="2026-01-02T01:04:05.678Z",
    ),
    Value("span", "interval", "'1 day 02:03:04'", "1 day 02:03:04"),
    Value("document", "json", """'{"b": [1, null, "x"], "a": {"c": true}}'""", {"b": [1, None, "x"], "a": {"c": True}}),
    Value("binary_document", "jsonb", """'[{"a": {"b": ["ü", 1.5]}}, null]'""", [{"a": {"b": ["ü", 1.5]}}, None]),
    Value("json_number", "jsonb", "'5'", 5),
    Value("json_word", "jsonb", """'true'""", True),
    Value("json_null", "jsonb", "'null'", None),
    # JavaScript parses a string in a JSON column again: of one that is no JSON it says so on the console and leaves it
    # alone; one that is JSON does not stay a string.
    Value("json_text", "jsonb", """'"plain"'""", "plain"),
    Value("json_text_of_number", "jsonb", """'"123"'""", "123", javascript=123, from_text="123"),
    Value("bytes", "bytea", r"'\xdeadbeef'", "deadbeef", from_text="\\xdeadbeef"),
    # Where PostgreSQL's text of an array is no JSON without its braces, the oldest client splits it at its commas.
    Value("numbers", "int4[]", "'{1,NULL,3}'", [1, None, 3], from_text=[1, "NULL", 3]),
    Value("no_numbers", "int4[]", "'{}'", []),
    Value(
        "texts",
        "text[]",
        """'{a,"b,c","say \\"hi\\"",NULL,"NULL",""}'""",
        ["a", "b,c", 'say "hi"', None, "NULL", ""],
        from_text=["a", '"b', 'c"', '"say \\"hi\\""', "NULL", '"NULL"', '""'],
    ),
    Value("grid", "int4[][]", "'{{1,2},{3,4}}'", [[1, 2], [3, 4]], from_text=["{1", 2, "{3", 4]),
    Value("bools", "bool[]", "'{t,f}'", [True, False]),
    Value(
        "moments",
        "timestamp[]",
        """'{"2026-01-02 03:04:05"}'""",
        ["2026-01-02T03:04:05"],
    ),
    Value("documents", "jsonb[]", """array['{"a": 1}', '[2]']::jsonb[]""", [{"a": 1}, [2]]),
    Value("feeling", "mood", "'so so'", "so so"),
    Value("feelings", "mood[]", """'{happy,"so so"}'""", ["happy", "so so"], from_text=["happy", '"so so"']),
    Value("points", "score", "7", 7, from_text="7"),
    Value("name_of_it", "word", "'w'", "w"),
    Value(
        "composite",
        "pair",
        '$$(1,"two ""2""",t)$$',
        {"x": 1, "y": 'two "2"', "z": True},
        from_text='(1,"two ""2""",t)',
    ),
    Value("address", "inet", "'192.168.0.1/24'", "192.168.0.1/24"),
    Value("network", "cidr", "'10.0.0.0/8'", "10.0.0.0/8"),
    Value("between", "int4range", "'[1,5)'", "[1,5)"),
    Value("between_days", "daterange", "'[2026-01-01,2026-02-01)'", "[2026-01-01,2026-02-01)"),
    Value("cash", "money", "12.30", "$12.30"),
    Value("place", "point", "'(1,2)'", "(1,2)"),
    Value("bits", "bit(3)", "'101'", "101"),
    Value("lexemes", "tsvector", "'b a'", "'a' 'b'"),
    Value("number_of_object", "oid", "4294967295", "4294967295", javascript=4294967295),
    Value("no_whole", "int4", "null", None),
    Value("no_text", "text", "null", None),
    Value("no_array", "text[]", "null", None),
    Value("no_document", "jsonb", "null", None),
    Value("no_moment", "timestamp", "null", None),
    Value("no_composite", "pair", "null", None),
)

each_value = pytest.mark.parametrize("value", VALUES, ids=lambda value: value.name)


@pytest.fixture(scope="module")
def insert(shared_database: Database) -> Callable[[], None]:
    """Write a row that has all the values."""
    shared_database.execute(TYPES)
    shared_database.execute(f"create table every_type ({', '.join(f'{value.name} {value.type}' for value in VALUES)})")
    row = ", ".join(value.literal for value in VALUES)
    return lambda: shared_database.execute(f"insert into every_type values ({row})")


@pytest.fixture(scope="module")
def text_node(shared_database: Database, start_shared_node: NodeFactory) -> Node:
    """A server that sends PostgreSQL's text to the oldest clients."""
    return start_shared_node(shared_database.dsn, PGCAST_LEGACY_VALUES="text")


def receive(client: Client, node: Node, insert: Callable[[], None]) -> dict[str, Any]:
    """Return the row as an application gets it."""
    topic = "realtime:public:every_type" if client.is_legacy else "room"
    channel = {"topic": topic, "bindings": [{"event": "INSERT", "schema": "public", "table": "every_type"}]}

    async def listen() -> dict[str, Any]:
        async with application(client, node, channel, converts=True, may_log=("JSON parse error",)) as app:
            await app.gets_status("SUBSCRIBED", topic)
            insert()
            return (await app.get("change"))["change"]

    change = asyncio.run(listen())
    if client.is_python:
        return change["data"]["record"]
    return change["record"] if client.is_legacy else change["new"]


@pytest.fixture(scope="module", params=CLIENTS, ids=str)
def client(request: pytest.FixtureRequest) -> Client:
    return request.param


@pytest.fixture(scope="module")
def received(client: Client, shared_node: Node, insert: Callable[[], None]) -> dict[str, Any]:
    """The row with all the values, as an application with that client gets it."""
    return receive(client, shared_node, insert)


@pytest.fixture(scope="module")
def received_as_text(text_node: Node, insert: Callable[[], None]) -> dict[str, Any]:
    """The same with the oldest client, from a server that sends text."""
    return receive(REALTIME_JS_1_7, text_node, insert)


def assert_same(found: Any, expected: Any) -> None:
    # 1 equals 1.0 and True, but is neither.
    assert (found, type(found) is bool) == (expected, type(expected) is bool)


@pytest.mark.behaviour("values")
@each_value
def test_an_application_gets_the_value(received: dict[str, Any], client: Client, value: Value):
    assert_same(received[value.name], value.expected(client))


@each_value
def test_the_oldest_client_makes_the_same_of_text_where_it_can(received_as_text: dict[str, Any], value: Value):
    assert_same(received_as_text[value.name], value.expected(REALTIME_JS_1_7, as_text=True))


def test_every_value_has_been_received(received: dict[str, Any]):
    assert list(received) == [value.name for value in VALUES]
