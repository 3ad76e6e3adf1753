"""Any row that Postgres can store reaches a client as the JSON that `to_jsonb` makes of it.

Rows are generated over the built-in types and those that users make, written through a real server, and compared with
Postgres' own answer, apart from the exceptions that pgcast.changes.values documents.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fix_node import Node, node_factory
from pgcast.devdb.template import Database, Template
from pgcast.postgres.connection import SESSION_OPTIONS
from realtime_client import RealtimeClient

EXAMPLES = 600
ROWS = 4

# ---------------------------------------------------------------------------------------------------------------------
# Literals of each type, as Postgres reads them
# ---------------------------------------------------------------------------------------------------------------------

# What a parser may stumble over is more likely; Postgres has no zero character, and no lone surrogates.
characters = st.one_of(
    st.sampled_from("\\\"'{}(),;[]<>:/ \t\n\r\b\f\x01\x1f\x7f\u2028\ufeff\ufffe"),
    st.characters(exclude_characters="\0", codec="utf-8"),
)
texts = st.one_of(st.sampled_from(["", "NULL", "null", "{}", "()", "\\N", "\\x"]), st.text(characters, max_size=20))


def integers(bits: int) -> st.SearchStrategy[str]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1).map(str)


digits = st.text("0123456789", min_size=1, max_size=30)
numerics = st.one_of(
    st.builds("{}{}.{}".format, st.sampled_from(["", "-"]), digits, digits),
    st.builds("{}e{}".format, digits, st.integers(-1000, 1000)),
    st.integers(1, 9).map(lambda digit: str(digit) * 1000),
    st.just("NaN"),
)
floats = st.floats(allow_nan=True, allow_infinity=True).map(repr)
floats4 = st.floats(width=32).map(repr)

years = st.one_of(st.integers(1, 9999), st.integers(10_000, 294_000))
times = st.builds("{:02}:{:02}:{:02}.{:06}".format, *map(st.integers, (0,) * 4, (23, 59, 59, 999_999)))
zones = st.sampled_from(["Z", "+00", "+05:45", "-12", "+14", "+01:02:03"])


@st.composite
def days(draw: st.DrawFn) -> str:
    year, month, day = draw(years), draw(st.integers(1, 12)), draw(st.integers(1, 28))
    return f"{year:04}-{month:02}-{day:02}"


@st.composite
def moments(draw: st.DrawFn, *, zoned: bool) -> str:
    if draw(st.integers(0, 9)) == 0:
        return draw(st.sampled_from(["infinity", "-infinity"]))
    year = draw(years)
    era = " BC" if year < 4000 and draw(st.booleans()) else ""
    day = f"{year:04}-{draw(st.integers(1, 12)):02}-{draw(st.integers(1, 28)):02}"
    return f"{day} {draw(times)}{draw(zones) if zoned else ''}{era}"


dates = st.one_of(
    st.sampled_from(["infinity", "-infinity", "4713-01-01 BC", "5874897-12-31"]),
    days(),
    days().filter(lambda day: len(day) == 10 and day < "4000").map("{} BC".format),
)

json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=8,
)
jsons = st.builds(
    lambda value, ascii_only: json.dumps(value, ensure_ascii=ascii_only).replace("/", "\\/"), json_values, st.booleans()
)

coordinates = st.floats(-1e6, 1e6).map(repr)
points = st.builds("({},{})".format, coordinates, coordinates)
octets = st.integers(0, 255)
addresses = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
    st.builds("{}/{}".format, st.ip_addresses(v=4), st.integers(0, 32)),
)
networks = st.one_of(
    st.builds("{}.{}.0.0/16".format, octets, octets), st.builds("2001:db8:{:x}::/48".format, st.integers(0, 65535))
)
macs = st.binary(min_size=6, max_size=6).map(lambda content: content.hex(":"))
macs8 = st.binary(min_size=8, max_size=8).map(lambda content: content.hex(":"))
bits = st.text("01", max_size=20)
words = st.text(st.characters(categories=["L"], max_codepoint=0x24F), min_size=1, max_size=6)
quoted_words = words.map("'{}'".format)
vectors = st.lists(quoted_words, max_size=4).map(" ".join)
names = st.text(characters, max_size=12).filter(lambda name: len(name.encode()) < 64)


def bounds(of: st.SearchStrategy[Any]) -> st.SearchStrategy[str]:
    """Ranges between two of these, closed, open, unbounded or empty."""

    def spell(pair: tuple[Any, Any], opening: str, closing: str, missing: int) -> str:
        low, high = sorted(pair)
        if missing == 3:
            return "empty"
        return f"{opening}{'' if missing == 1 else quoted(low)},{'' if missing == 2 else quoted(high)}{closing}"

    def quoted(bound: Any) -> str:
        return f'"{bound}"'

    return st.builds(spell, st.tuples(of, of), st.sampled_from("[("), st.sampled_from(")]"), st.integers(0, 5))


small = st.integers(-1000, 1000)
plain_days = st.dates().map(str)
plain_moments = st.datetimes().map(str)
int_ranges = bounds(small)
multiranges = st.lists(int_ranges, max_size=3).map(lambda ranges: "{" + ",".join(ranges) + "}")


def array_element(text: str | None) -> str:
    if text is None:
        return "NULL"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@st.composite
def arrays(draw: st.DrawFn, of: st.SearchStrategy[str], delimiter: str = ",") -> str:
    """Arrays of up to three dimensions, with NULLs, and sometimes with bounds of their own."""
    lengths = draw(st.lists(st.integers(1, 3), max_size=3))
    if not lengths:
        return "{}"

    def spell(depth: int) -> str:
        if depth == len(lengths):
            return array_element(draw(st.one_of(st.none(), of)))
        return "{" + delimiter.join(spell(depth + 1) for _ in range(lengths[depth])) + "}"

    own_bounds = ""
    if draw(st.integers(0, 4)) == 0:
        starts = [draw(st.integers(-3, 3)) for _ in lengths]
        own_bounds = "".join(f"[{start}:{start + length - 1}]" for start, length in zip(starts, lengths, strict=True))
    return (own_bounds + "=" if own_bounds else "") + spell(0)


def record(*fields: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Composites of these fields, each perhaps NULL."""

    def spell(values: tuple[str | None, ...]) -> str:
        return "(" + ",".join("" if value is None else composite_field(value) for value in values) + ")"

    return st.tuples(*(st.one_of(st.none(), field) for field in fields)).map(spell)


def composite_field(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '""') + '"'


MOODS = ["sad", "so so", 'say "hi"', "größer, {besser}", "NULL", "", "\\"]
moods = st.sampled_from(MOODS)
pairs = record(integers(32), texts)

TYPES = f"""
    create type mood as enum ({", ".join("'" + mood + "'" for mood in MOODS)});
    create domain positive as numeric check (value > 0 or value <> value);
    create domain "Odd Domain" as mood;
    create domain tags as text[];
    create type pair as (n int, "t ""x" text);
    create type nested as (p pair, ps pair[], m mood, d timestamptz, js jsonb, bs bytea, f float8, g tags);
    create type timerange as range (subtype = time);
"""

SCALARS: dict[str, st.SearchStrategy[str]] = {
    "bool": st.sampled_from(["t", "f"]),
    "int2": integers(16),
    "int4": integers(32),
    "int8": integers(64),
    "oid": st.integers(0, 2**32 - 1).map(str),
    "float4": floats4,
    "float8": floats,
    "numeric": numerics,
    "numeric(20,5)": st.decimals(-(10**14), 10**14, places=5).map(str),
    "money": st.decimals(-(10**14), 10**14, places=2).map(str),
    "text": texts,
    "varchar(40)": texts,
    "char(30)": texts,
    '"char"': st.characters(min_codepoint=1, max_codepoint=127),
    "name": names,
    "bytea": st.binary(max_size=30).map(lambda content: f"\\x{content.hex()}"),
    "uuid": st.uuids().map(str),
    "bit(5)": st.text("01", min_size=5, max_size=5),
    "varbit": bits,
    "date": dates,
    "time": times,
    "timetz": st.builds("{}{}".format, times, st.sampled_from(["Z", "+05:45", "-12"])),
    "timestamp": moments(zoned=False),
    "timestamptz": moments(zoned=True),
    "interval": st.builds("{} mons {} days {} secs".format, small, small, st.decimals(-(10**6), 10**6, places=6)),
    "json": jsons,
    "jsonb": jsons,
    "inet": addresses,
    "cidr": networks,
    "macaddr": macs,
    "macaddr8": macs8,
    "point": points,
    "line": st.builds("{{{},{},{}}}".format, coordinates, st.just("1"), coordinates),
    "lseg": st.builds("[{},{}]".format, points, points),
    "box": st.builds("{},{}".format, points, points),
    "path": st.builds("[{},{}]".format, points, points),
    "polygon": st.builds("({},{},{})".format, points, points, points),
    "circle": st.builds("<{},{}>".format, points, st.floats(0, 1e6).map(repr)),
    "tsvector": vectors,
    "tsquery": st.lists(quoted_words, min_size=1, max_size=4).map(" & ".join),
    "pg_lsn": st.builds("{:X}/{:X}".format, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    "txid_snapshot": st.just("10:20:10,14"),
    "int4range": int_ranges,
    "int8range": bounds(st.integers(-(2**62), 2**62)),
    "numrange": bounds(st.decimals(-1000, 1000, places=3)),
    "tsrange": bounds(plain_moments),
    "tstzrange": bounds(plain_moments.map("{}+00".format)),
    "daterange": bounds(plain_days),
    "timerange": bounds(times),
    "mood": moods,
    "positive": st.one_of(st.decimals(1, 10**20, places=10).map(str), st.just("NaN")),
    '"Odd Domain"': moods,
    "tags": arrays(texts),
    "pair": pairs,
    "nested": record(
        pairs, arrays(pairs), moods, moments(zoned=True), jsons, st.just("\\x00ff"), floats, arrays(texts)
    ),
}  # fmt: skip

# Not in every version, or not in every build.
OPTIONAL: dict[str, tuple[str, st.SearchStrategy[str]]] = {
    "xml": ("<a/>", st.builds("<a b='{}'>{}</a>".format, words, words)),
    "int4multirange": ("{}", multiranges),
    "xid8": ("1", st.integers(0, 2**63).map(str)),
    "pg_snapshot": ("10:20:10,14", st.just("10:20:10,14")),
    "jsonpath": ("$", st.just('$.a ? (@.b == "x")')),
}

ARRAYS = [
    "bool", "int2", "int4", "int8", "float8", "numeric", "text", "varchar(40)", "char(30)", "name", "bytea", "uuid",
    "date", "timestamp", "timestamptz", "interval", "json", "jsonb", "inet", "point", "int4range", "mood", "pair",
    "money", "tsvector", "varbit",
]  # fmt: skip


# What becomes of a value where the JSON is not to_jsonb's, on purpose.
NUMBERS = {"float4", "float8", "numeric", "positive"}


def adjusted(type_name: str, value: Any) -> Any:
    """Turn what to_jsonb makes of a value into what clients get."""
    if isinstance(value, list):
        return [adjusted(type_name.removesuffix("[]"), element) for element in value]
    if type_name == "nested" and value is not None:
        return {**value, "bs": adjusted("bytea", value["bs"]), "f": adjusted("float8", value["f"])}
    if type_name == "bytea" and value is not None:
        return value.removeprefix("\\x")
    return None if type_name in NUMBERS and isinstance(value, str) else value


def read_exactly(document: str) -> Any:
    return json.loads(document, parse_float=Decimal, parse_int=Decimal)


class Line:
    """A connection that writes rows, and a client that reads them; used from outside of an event loop."""

    def __init__(self, database: Database, node: Node) -> None:
        self.types = {**SCALARS}
        self._connection = psycopg.connect(database.dsn, autocommit=True, options=f"{SESSION_OPTIONS}public")
        for type_name, (sample, literals) in OPTIONAL.items():
            with contextlib.suppress(psycopg.errors.UndefinedObject, psycopg.errors.FeatureNotSupported):
                self._connection.execute(f"select %s::{type_name}", [sample])
                self.types[type_name] = literals
        for type_name in ARRAYS:
            self.types[f"{type_name}[]"] = arrays(SCALARS[type_name])
        if self._connection.info.server_version >= 140_000:
            self.types["numeric"] = st.one_of(numerics, st.sampled_from(["Infinity", "-Infinity"]))
        self.columns = {type_name: f"c{number}" for number, type_name in enumerate(self.types)}
        columns = ", ".join(f"{column} {type_name}" for type_name, column in self.columns.items())
        self._connection.execute(f"create table everything (id serial primary key, {columns})")
        self._connection.execute("alter table everything replica identity full")
        self._runner = asyncio.Runner()
        self._client = RealtimeClient(node.url)
        self._runner.run(self._join())

    async def _join(self) -> None:
        await self._client.__aenter__()
        await self._client.join("realtime:room", {"event": "*", "schema": "public", "table": "everything"})

    def close(self) -> None:
        self._runner.run(self._client.__aexit__())
        self._runner.close()
        self._connection.close()

    def write(self, rows: list[dict[str, str]]) -> list[dict[str, Any]]:
        """Insert rows and delete them, in one transaction; return of each what Postgres makes of it, by type."""
        written = []
        with self._connection.transaction():
            for row in rows:
                names = ", ".join(self.columns[type_name] for type_name in row)
                places = ", ".join(["%s"] * len(row))
                (document,) = self._connection.execute(
                    f"insert into everything ({names}) values ({places}) returning to_jsonb(everything)::text",
                    list(row.values()),
                ).fetchone()
                written.append(read_exactly(document))
            for record in written:
                self._connection.execute("delete from everything where id = %s", [record["id"]])
        return [self._by_type(record) for record in written]

    def read(self, count: int) -> list[dict[str, Any]]:
        """Return, by type, the rows of the next changes, new or old."""
        return [self._by_type(record) for record in self._runner.run(self._records(count))]

    async def _records(self, count: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(20):
            while len(found) < count:
                message = read_exactly(await self._client.socket.recv())
                if message[3] == "postgres_changes":
                    payload = message[4]["data"]
                    found.append(payload["record" if payload["type"] == "INSERT" else "old_record"])
        return found

    def _by_type(self, record: dict[str, Any]) -> dict[str, Any]:
        return {type_name: record[column] for type_name, column in self.columns.items()}


@pytest.fixture(scope="module")
def line(empty_template: Template, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Line]:
    database = empty_template.copy()
    database.execute(TYPES)
    database.execute("create publication supabase_realtime for all tables")
    try:
        with (
            node_factory(tmp_path_factory.mktemp("node")) as start,
            contextlib.closing(Line(database, start(database.dsn))) as made,
        ):
            yield made
    finally:
        database.drop()


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_row_arrives_as_postgres_would_print_it(line: Line, data: st.DataObject):
    value = st.sampled_from(sorted(line.types)).flatmap(
        lambda type_name: st.tuples(st.just(type_name), line.types[type_name])
    )
    row = st.lists(value, min_size=1, max_size=8).map(dict)
    rows = data.draw(st.lists(row, min_size=1, max_size=ROWS), label="rows")
    expected = line.write(rows)
    for got, row_of_postgres, literals in zip(line.read(2 * len(rows)), expected * 2, rows * 2, strict=True):
        wanted = {type_name: adjusted(type_name, value) for type_name, value in row_of_postgres.items()}
        wrong = {
            type_name: {"written": literals.get(type_name), "arrived": got[type_name], "expected": wanted[type_name]}
            for type_name in wanted
            if got[type_name] != wanted[type_name]
        }
        assert wrong == {}
