"""Postgres as oracle: a filter delivers exactly the rows that `SELECT ... WHERE` of the same condition finds."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
import pytest

from pgcast.changes.oids import builtin_shape
from pgcast.engine.bindings import entry_of
from pgcast.engine.decisions import Decisions
from pgcast.matching.conditions import Question
from pgcast.matching.filters import FilterGroup, FilterPart, FilterTerm, parse_filter
from pgcast.matching.index import Index
from pgcast.matching.scan import Scan
from pgcast.model.binding import Binding
from pgcast.model.change import Change, Kind
from pgcast.model.errors import BindingError
from pgcast.model.relation import Column, Relation, ReplicaIdentity
from pgcast.postgres.catalog import PostgresCatalog
from pgcast.postgres.connection import parse_target

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from pgcast.devdb.template import Database
    from pgcast.matching.index import Entry
    from pgcast.model.relation import Table

INT4 = builtin_shape(23)

SETTINGS = (
    "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c bytea_output=hex -c extra_float_digits=3"
    " -c client_encoding=UTF8"
)

TYPES = """
    CREATE TYPE mood AS ENUM ('sad', 'ok', 'glad', 'awe, struck');
    CREATE DOMAIN price AS numeric CHECK (VALUE > -1000);
    CREATE TYPE pair AS (a int, b text);
    CREATE COLLATION foreign_locale (provider = libc, locale = 'C.UTF-8');
    CREATE DOMAIN name_list AS text[];
"""

# A type, and values of it. All pairs of them are compared.
LITERALS: dict[str, list[str]] = {
    "bool": ["t", "f"],
    "int2": ["0", "-32768", "9", "10"],
    "int4": ["0", "-1", "9", "10", "2147483647"],
    "int8": ["0", "-9223372036854775808", "9", "10", "9007199254740993", "9007199254740992"],
    "oid": ["0", "4294967295", "9"],
    "float4": ["0", "-0", "0.1", "1.5", "9", "10", "NaN", "Infinity", "-Infinity", "3.4028235e38"],
    "float8": ["0", "-0", "0.1", "0.3", "0.30000000000000004", "9", "10", "NaN", "Infinity", "-Infinity", "1e300"],
    "numeric": ["0", "0.00", "1.0", "1.00", "9", "10", "-1e40", "1e-30", "NaN", "12345678901234567890.1"],
    "numeric(10,2)": ["1", "1.005", "1.01", "100"],
    "price": ["1.0", "1", "9", "10"],
    "text": ["", "a", "A", "ab", "b", "ä", "a b", "a,b", 'say "hi"', "100%", "a_b", "🦊", "null", "(x)", r"back\slash"],
    "varchar(10)": ["", "a", "A", "ab ", "ab", "ä"],
    "char(4)": ["", "a", "ab", "ab c", "B"],
    "name": ["", "a", "b", "pg_class"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A12", "0" * 32],
    "date": ["2026-01-02", "0044-03-15 BC", "0043-03-15 BC", "infinity", "-infinity", "20000-01-01", "1999-12-31"],
    "timestamp": ["2026-01-02 03:04:05", "2026-01-02 03:04:05.5", "0044-03-15 12:00 BC", "infinity", "20000-01-01"],
    "timestamptz": [
        "2026-01-02 03:04:05+00",
        "2026-01-02 05:04:05+02",
        "2026-01-01 23:04:05.25-04",
        "0044-03-15 12:00+00 BC",
        "infinity",
        "-infinity",
    ],
    "time": ["03:04:05", "24:00:00", "03:04:05.5", "00:00:00"],
    "timetz": ["03:04:05+02", "01:04:05+00", "03:04:05.5-05:30", "03:04:05-05", "03:04:05+00:00:30"],
    "interval": ["1 day", "24:00:00", "30 days", "1 mon", "-1 days +25:00", "1 year", "360 days", "-00:00:01", "0"],
    "bytea": [r"\x", r"\x00", r"\x01", r"\x0100", r"\xff", r"\xFE"],
    "inet": ["10.0.0.1", "10.0.0.1/8", "10.0.0.0/8", "10.0.0.0/16", "9.255.0.0", "::1", "fe80::/10", "10.0.0.1/32"],
    "cidr": ["10.0.0.0/8", "10.0.0.0/16", "10.0.0.1/32", "::/0", "0.0.0.0/0"],
    "macaddr": ["08:00:2b:01:02:03", "08-00-2B-01-02-04", "ff:00:00:00:00:00"],
    "bit(4)": ["1010", "0111", "0000"],
    "varbit": ["", "1", "10", "0111", "1000000001", "11"],
    "pg_lsn": ["0/0", "16/B374D848", "2/FFFFFFFF"],
    "int4[]": ["{}", "{1}", "{1,2}", "{1,NULL}", "{9}", "{10}", "{{1,2},{3,4}}", "[0:1]={1,2}", "{NULL}"],
    "numeric[]": ["{1.0}", "{1.00}", "{2}", "{}"],
    "text[]": ["{}", '{"a b"}', "{a,b}", '{"a,b"}', r'{"say \"hi\""}', "{NULL}", '{"NULL"}', '{""}', "{Z}"],
    "name_list": ["{a}", "{b,a}"],
    "timestamptz[]": ['{"2026-01-02 03:04:05+02"}', '{"2026-01-02 01:04:05+00"}', "{infinity}"],
    "int4range": ["[1,5)", "[1,4]", "empty", "(,5)", "[1,)", "[9,10)", "[10,11)", "(,)"],
    "numrange": ["[1.0,2)", "[1.00,2.0)", "(1,2)", "[1,2]", "empty", "(,2)", "[9,)"],
    "tstzrange": ["[2026-01-02 03:04+02,2026-01-03)", "[2026-01-02 01:04+00,2026-01-03)", "(,infinity)", "empty"],
    "daterange": ["[2026-01-01,2026-02-01)", "[2026-01-01,2026-01-31]", "(,2026-01-01)", "empty"],
}

EQUALITY_ALONE: dict[str, list[str]] = {
    "mood": ["sad", "ok", "glad", "awe, struck"],
    "money": ["1.00", "2.50"],
    "xid": ["1", "2"],
    "jsonb": [
        *("1", "1.0", "true", '"1"', "null", "[]", "{}", "[1, 2]", "[1.0, 2.00]", '{"a": 1, "b": null}'),
        *('{"b": null, "a": 1.0}', '{"a": 1}', '"true"', '"a,b"', "[null]"),
    ],
}

FOREIGN = "text COLLATE foreign_locale"

ASKED: dict[str, list[str]] = {
    "mood": EQUALITY_ALONE["mood"],
    "jsonb": EQUALITY_ALONE["jsonb"],
    FOREIGN: ["a", "A", "ab", "b", "ä", "Ä", "", "aB"],
    "pair": ["(1,a)", "(1,)", "(,a)", "(9,b)", "(10,b)"],
    "money": ["1.00", "2.50", "-3"],
}
BLIND = "text COLLATE blind"
BLIND_COLLATION = "CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false)"
BLIND_TEXTS = ["a", "A", "ab", "aB", "b", "ä", "Ä", "", "a,b"]
OTHERS = ["json", 'text COLLATE "C"']

ORDERED = ("eq", "neq", "lt", "lte", "gt", "gte")
PATTERNS = [
    "",
    "%",
    "a%",
    "%b",
    "a_b",
    "_",
    "__",
    r"a\_b",
    r"100\%",
    "%a%b%",
    "A%",
    "%ä%",
    "ab",
    "ab%",
    "ab  ",
    "%%",
    "%🦊",
]
REGEXES = ["", "a", "^a", "b$", "^A$", "[[:alpha:]]+ ", "a|b", r"\.", r"\\d", "(x)", "ä"]
SQL = {
    "match": "~",
    "imatch": "~*",
    "eq": "=",
    "neq": "<>",
    "lt": "<",
    "lte": "<=",
    "gt": ">",
    "gte": ">=",
    "like": "LIKE",
    "ilike": "ILIKE",
}


@dataclass
class Oracle:
    """A table in a real database, read as the stream would carry it."""

    session: psycopg.Connection
    catalog: PostgresCatalog
    table: Table
    rows: dict[int, Change]
    types: dict[str, str]

    async def entry(self, text: str) -> Entry:
        binding = Binding(id=1, event=None, schema="public", table="t", filter=text)
        return await entry_of(binding, await self.catalog.published_tables(), self.catalog)

    async def check(self, text: str) -> None:
        entry = await self.entry(text)
        expected = self.expected(text)
        if entry.asks:
            assert await self.asked(entry) == expected, text
            return
        delivered = {number for number, change in self.rows.items() if entry.wants(change)}
        assert delivered == expected, text
        index: Index[str] = Index()
        index.add("one", [entry])
        assert {number for number, change in self.rows.items() if index.match(change)} == expected, text
        index.remove("one", [entry])

    async def asked(self, entry: Entry) -> set[int]:
        answered = asyncio.Event()
        decisions = Decisions(self.catalog, answered.set)
        scan = Scan([entry], decisions)
        while True:
            answered.clear()
            found = {number: scan.match(change, lambda _: True) for number, change in self.rows.items()}
            if None not in found.values():
                await decisions.close()
                return {number for number, one in found.items() if one is not None and one.ids}
            async with asyncio.timeout(10):
                await answered.wait()

    def expected(self, text: str) -> set[int]:
        where = " AND ".join(self.sql(part) for part in parse_filter(text))
        return {number for (number,) in self.session.execute(f"SELECT number FROM t WHERE {where}")}

    def sql(self, part: FilterPart) -> str:
        if isinstance(part, FilterGroup):
            inner = (" OR " if part.is_any else " AND ").join(self.sql(inside) for inside in part.parts)
            return f"NOT ({inner})" if part.is_negated else f"({inner})"
        return f"NOT ({self.comparison(part)})" if part.is_negated else f"({self.comparison(part)})"

    def comparison(self, term: FilterTerm) -> str:
        column = f'"{term.column}"'
        name = self.types.get(term.column, "text").partition("(")[0].partition(" ")[0]
        name = {"char": "bpchar", "bit": '"bit"'}.get(name, name)  # of any length
        if "->" in term.column:
            head, *keys = term.column.replace("->>", "->").split("->")
            arrow = "->>" if "->>" in term.column else "->"
            spelled = [key if key.lstrip("-").isdigit() else f"'{key}'" for key in keys]
            column = "(" + "->".join([head, *spelled[:-1]]) + arrow + spelled[-1] + ")"
            name = "text" if arrow == "->>" else self.types[head]
        values = ["NULL" if text is None else f"{quoted(text)}::{name}" for text in term.operands]
        match term.operator:
            case "in":
                return f"{column} IN ({', '.join(values)})"
            case "is":
                return f"{column} IS {term.operands[0]}"
            case "isdistinct":
                return f"{column} IS DISTINCT FROM {values[0]}"
            case "like" | "ilike" | "match" | "imatch":
                return f"{column} {SQL[term.operator]} {quoted(term.operands[0] or '')}"
        return f"{column} {SQL[term.operator]} {values[0]}"


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def in_filter(text: str) -> str:
    return '"' + text.replace("\\", r"\\").replace('"', r"\"") + '"'


def column_of(type_name: str) -> str:
    return "c_" + "".join(character if character.isalnum() else "_" for character in type_name)


@pytest.fixture
async def oracle(database):
    everything = {**dict.fromkeys(OTHERS, ()), **LITERALS, **ASKED, **EQUALITY_ALONE}
    async with oracle_of(database, TYPES, everything) as made:
        yield made


@pytest.fixture
async def blind_oracle(database):
    """Of a column whose collation does not tell upper and lower case apart; skips without ICU."""
    with database.connect() as connection:
        try:
            connection.execute(BLIND_COLLATION)
        except psycopg.errors.FeatureNotSupported:
            pytest.skip("this PostgreSQL was built without ICU")
    async with oracle_of(database, "SELECT", {BLIND: BLIND_TEXTS, "int4": ["0", "1", "2"]}) as made:
        yield made


@contextlib.asynccontextmanager
async def oracle_of(database: Database, prelude: str, everything: Mapping[str, Sequence[str]]) -> AsyncIterator[Oracle]:
    """A table with a column for each type, and a row for each of the values."""
    types = {column_of(name): name for name in everything}
    with psycopg.connect(database.dsn, autocommit=True, options=SETTINGS) as session:
        session.execute(prelude)
        columns = ", ".join(f'"{column}" {name}' for column, name in types.items())
        session.execute(f"CREATE TABLE t (number int PRIMARY KEY, {columns})")
        session.execute("CREATE PUBLICATION p FOR TABLE t")
        for number in range(max(map(len, everything.values())) + 1):
            values = [
                f"{quoted(literals[number])}::{name.partition(' ')[0]}" if number < len(literals) else "NULL"
                for name, literals in everything.items()
            ]
            session.execute(f"INSERT INTO t VALUES ({number}, {', '.join(values)})")
        catalog = PostgresCatalog(parse_target(database.dsn), publications=["p"])
        (oid,) = session.execute("SELECT 't'::regclass::oid::int8").fetchone() or ()
        described = session.execute(
            "SELECT attname, atttypid::int8, atttypmod FROM pg_attribute"
            " WHERE attrelid = %s AND attnum > 0 ORDER BY attnum",
            [oid],
        ).fetchall()
        relation = Relation(
            oid,
            "public",
            "t",
            ReplicaIdentity.DEFAULT,
            tuple(Column(name, type_oid, modifier, name == "number") for name, type_oid, modifier in described),
        )
        table = await catalog.describe(relation)
        rows = {}
        for values in texts_of(session, [name for name, _, _ in described]):
            rows[int(values[0] or b"")] = Change(table, Kind.INSERT, b"{}", None, tuple(values), None)
        yield Oracle(session, catalog, table, rows, types)
        await catalog.close()


def texts_of(session: psycopg.Connection, columns: Sequence[str]) -> list[list[bytes | None]]:
    """All rows of `t` as each type's output function prints them."""
    cursor = session.execute("SELECT " + ", ".join(f'"{column}"' for column in columns) + " FROM t")
    result = cursor.pgresult
    assert result is not None
    return [[result.get_value(row, place) for place in range(len(columns))] for row in range(result.ntuples)]


@pytest.mark.parametrize("type_name", [*LITERALS, *EQUALITY_ALONE])
async def test_every_comparison_of_a_type_is_postgres_own(oracle: Oracle, type_name: str):
    column = column_of(type_name)
    literals = {**LITERALS, **EQUALITY_ALONE}[type_name]
    operators = ORDERED if type_name in LITERALS else ("eq", "neq")
    for operator, literal, negation in itertools.product([*operators, "isdistinct"], literals, ["", "not."]):
        await oracle.check(f"{column}={negation}{operator}.{in_filter(literal)}")
    for negation in ["", "not."]:
        await oracle.check(f"{column}={negation}is.null")
        await oracle.check(f"{column}={negation}isdistinct.null")
        for some in ([0], [0, -1], [-1, -2, 1]):
            items = ",".join(in_filter(literals[place]) for place in some if place < len(literals))
            await oracle.check(f"{column}={negation}in.({items})")
            await oracle.check(f"{column}={negation}in.({items},null)")


@pytest.mark.parametrize("type_name", ["text", "varchar(10)", "char(4)", "name"])
async def test_every_pattern_is_postgres_own(oracle: Oracle, type_name: str):
    for pattern, operator, negation in itertools.product(PATTERNS, ["like", "ilike"], ["", "not."]):
        await oracle.check(f"{column_of(type_name)}={negation}{operator}.{in_filter(pattern)}")


@pytest.mark.parametrize("type_name", ["text", "varchar(10)", "char(4)", "name", FOREIGN])
async def test_every_regular_expression_is_postgres_own(oracle: Oracle, type_name: str):
    for pattern, operator, negation in itertools.product(REGEXES, ["match", "imatch"], ["", "not."]):
        await oracle.check(f"{column_of(type_name)}={negation}{operator}.{in_filter(pattern)}")


async def test_letters_of_another_locale_fold_as_postgres_folds_them(oracle: Oracle):
    for pattern in PATTERNS:
        await oracle.check(f"{column_of(FOREIGN)}=ilike.{in_filter(pattern)}")


@pytest.mark.parametrize("type_name", [*ASKED])
async def test_what_only_postgres_can_order_is_asked_of_it(oracle: Oracle, type_name: str):
    column = column_of(type_name)
    for literal, operator in itertools.product(ASKED[type_name], ORDERED):
        assert (await oracle.entry(f"{column}={operator}.{in_filter(literal)}")).asks or operator in {"eq", "neq"}
        await oracle.check(f"{column}={operator}.{in_filter(literal)}")
    await oracle.check(f"or=({column}.lt.{in_filter(ASKED[type_name][0])},c_int4.eq.9),c_int8=not.is.null")


@pytest.mark.postgres(12, why="collations that are not deterministic came with version 12")
async def test_a_collation_that_is_not_deterministic_is_asked_of_postgres(blind_oracle: Oracle):
    column = column_of(BLIND)
    operators = [*ORDERED, "isdistinct"]
    for literal, operator, negation in itertools.product(BLIND_TEXTS, operators, ["", "not."]):
        assert (await blind_oracle.entry(f"{column}={operator}.{in_filter(literal)}")).asks
        await blind_oracle.check(f"{column}={negation}{operator}.{in_filter(literal)}")
    for negation in ["", "not."]:
        await blind_oracle.check(f'{column}={negation}in.(A,"A,B")')
        await blind_oracle.check(f"{column}={negation}in.(A,null)")
        await blind_oracle.check(f"or=({column}.eq.A,c_int4.eq.2),c_int4={negation}gt.0")
    assert blind_oracle.expected(f"{column}=eq.a") == {0, 1}


@pytest.mark.postgres(12, why="collations that are not deterministic came with version 12")
@pytest.mark.parametrize("operator", ["like", "ilike", "match"])
async def test_a_pattern_is_refused_where_the_collation_knows_none(
    blind_oracle: Oracle, postgres_version: int, operator: str
):
    text = f"{column_of(BLIND)}={operator}.a"
    if operator == "like" and postgres_version >= 18:
        await blind_oracle.check(text)
        await blind_oracle.check(text + "%")
        return
    with pytest.raises(BindingError, match="nondeterministic collations are not supported"):
        await blind_oracle.entry(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c_text=match.(", "invalid regular expression for match filter: parentheses () not balanced"),
        ('c_text=imatch."a{2,1}"', "invalid regular expression for imatch filter: "),
        ("c_xid=lt.5", "operator does not exist: xid < xid"),
        ("c_json=lt.1", "operator does not exist: json < json"),
        ("c_int4=eq.99999999999", "out of range for type integer"),
        ("c_price=lt.-1000", "violates check constraint"),
        ("c_mood=lt.gloomy", "invalid input value for enum"),
    ],
)
async def test_what_postgres_refuses_is_refused_at_once(oracle: Oracle, text: str, message: str):
    with pytest.raises(BindingError, match=re.escape(message)):
        await oracle.entry(text)


async def test_a_pattern_that_takes_for_ever_is_given_up(oracle: Oracle):
    entry = await oracle.entry(r"c_text=match.^(a?){20}(a{0,20}){20}(\1\2)*b$")
    catalog = oracle.catalog
    begin = asyncio.get_running_loop().time()
    answers = await asyncio.gather(
        catalog.decide(Question(25, None, "match", (r"(((a+)+)+)\1\2\3(((a*)*)*)*c",)), [b"a" * 40]),
        catalog.canonical_text(INT4, "+7"),
        return_exceptions=True,
    )
    assert answers[1] == b"7"
    assert asyncio.get_running_loop().time() - begin < 4
    assert entry.asks


async def test_truth_is_two_valued(oracle: Oracle):
    for word, negation in itertools.product(["null", "true", "false", "unknown"], ["", "not."]):
        await oracle.check(f"c_bool={negation}is.{word}")


@pytest.mark.parametrize(
    "path", ["c_jsonb->a", "c_jsonb->>a", "c_jsonb->0", "c_jsonb->>0", "c_jsonb->-1", "c_jsonb->>b", "c_jsonb->a->>b"]
)
async def test_a_path_into_json_is_postgres_own(oracle: Oracle, path: str):
    for literal, negation in itertools.product(["1", "1.0", "true", "null"], ["", "not."]):
        for operator in ["eq", "neq", "isdistinct"]:
            await oracle.check(f"{path}={negation}{operator}.{in_filter(literal)}")
        await oracle.check(f"{path}={negation}in.(1,{literal})")
        await oracle.check(f"{path}={negation}is.null")


async def test_conditions_combine_as_in_sql(oracle: Oracle):
    chance = random.Random(7)
    for _ in range(150):
        parts = [segment(chance, depth=2) for _ in range(chance.randint(1, 3))]
        await oracle.check(",".join(parts))


def term(chance: random.Random, joint: str) -> str:
    name = chance.choice(list(LITERALS))
    column, negation = column_of(name), chance.choice(["", "not."])
    if chance.random() < 0.2:
        return f"{column}{joint}{negation}is.null"
    operator = chance.choice(ORDERED)
    return f"{column}{joint}{negation}{operator}.{in_filter(chance.choice(LITERALS[name]))}"


def segment(chance: random.Random, *, depth: int, joint: str = "=") -> str:
    if depth == 0 or chance.random() < 0.4:
        return term(chance, joint)
    parts = [segment(chance, depth=depth - 1, joint=".") for _ in range(chance.randint(1, 3))]
    opening = "=(" if joint == "=" else "("
    return f"{chance.choice(['', 'not.'])}{chance.choice(['and', 'or'])}{opening}{','.join(parts)})"
