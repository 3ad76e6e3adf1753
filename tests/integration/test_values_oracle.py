"""Postgres as oracle: a value's text, rendered by us, is the JSON that `to_jsonb` makes of the value."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pgcast.changes.oids import QUERY, builtin_shape
from pgcast.changes.rows import make_row_reader
from pgcast.changes.values import renderer
from pgcast.model.change import Change
from pgcast.model.relation import Relation, Table, TypeKind, TypeShape
from pgcast.wal.decoder import Decoder
from pgcast.wal.messages import RelationMessage

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = (
    "-c datestyle=ISO -c intervalstyle=postgres -c timezone=UTC -c bytea_output=hex -c extra_float_digits=3"
    " -c client_encoding=UTF8"
)

TYPES = r"""
    CREATE TYPE mood AS ENUM ('sad', 'so so', 'say "hi"', 'größer, {besser}', 'NULL', '');
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
    CREATE DOMAIN "Odd Name" AS positive;
    CREATE DOMAIN tags AS text[];
    CREATE DOMAIN moment AS timestamptz;
    CREATE TYPE pair AS (a integer, "b ""c" text);
    CREATE TYPE nested AS (name text, inside pair, list integer[], pairs pair[], at timestamptz, js jsonb, ok boolean);
    CREATE TYPE one AS (sole text);
    CREATE TYPE huge AS (n numeric);
    CREATE TYPE timerange AS RANGE (subtype = time);
"""

TYPES_FROM_11 = "CREATE DOMAIN pair_domain AS pair"

LITERALS: dict[str, list[str]] = {
    "bool": ["t", "f"],
    "int2": ["0", "-32768", "32767"],
    "int4": ["0", "-2147483648", "2147483647"],
    "int8": ["0", "-9223372036854775808", "9007199254740993"],
    "oid": ["0", "4294967295"],
    "float4": ["0", "1.5", "-1e-30", "3.4028235e38", "0.1", "1e20", "123456789"],
    "float8": ["0", "-0", "0.1", "1e-7", "1e20", "1.7976931348623157e308", "5e-324", "123456789012345678", "-2.5"],
    "numeric": ["0", "0.0", "1.50", "-12345678901234567890.123456789", "1e40", ".5", "0.000000000000000000001"],
    "money": ["1234.5", "-0.01"],
    "text": [
        "",
        "plain",
        'say "hi"',
        r"back\slash",
        "tab\tnew\nline\rfeed\fback\b",
        "\x01\x1f\x7f",
        "größe €",
        "🦊\u2028\u2029\ufeff\ufffd",
        "null",
        "NULL",
        "{}",
        "</script>/",
        "x" * 10_000,
    ],
    "varchar": ["", 'a "b"'],
    "bpchar": ["", "a"],
    "char(5)": ["ab"],
    '"char"': ["a", '"', "\\", ""],
    "name": ["pg_class", 'na"me'],
    "uuid": ["A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11"],
    "bit(4)": ["1010"],
    "varbit": ["", "101"],
    "date": ["2026-01-02", "0044-03-15 BC", "infinity", "-infinity", "20000-01-01", "0001-01-01"],
    "time": ["03:04:05", "24:00:00", "03:04:05.678901"],
    "timetz": ["03:04:05+02", "03:04:05.5-05:30"],
    "timestamp": [
        "2026-01-02 03:04:05",
        "2026-01-02 03:04:05.678901",
        "0044-03-15 12:00 BC",
        "20000-01-01 00:00",
        "infinity",
        "-infinity",
    ],
    "timestamptz": [
        "2026-01-02 03:04:05+02",
        "2026-01-02 03:04:05.678901Z",
        "0044-03-15 12:00+00 BC",
        "0044-03-15 12:00:00.5+00 BC",
        "20000-01-01 00:00+00",
        "infinity",
        "-infinity",
    ],
    "interval": ["1 day", "-1 year -2 mons +3 days 04:05:06.7", "0"],
    "json": ['{"a": [1, 2.50, null], "a": "x"}', " [ ] ", '"te\\u00e9xt"', "null", "1e5", '{"a":\n1}'],
    "jsonb": ['{"b": 1, "a": {"c": [true, "ä\\n"]}}', "[]", '"s"', "null", "1.10"],
    "jsonpath": ['$.a ? (@.b == "x")'],
    "inet": ["10.0.0.1", "::1/64"],
    "cidr": ["10.0.0.0/8"],
    "macaddr": ["08:00:2b:01:02:03"],
    "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "point": ["(1.5,-2)"],
    "line": ["{1,2,3}"],
    "lseg": ["[(1,2),(3,4)]"],
    "box": ["(3,4),(1,2)"],
    "path": ["[(1,2),(3,4)]", "((1,2),(3,4))"],
    "polygon": ["((1,2),(3,4),(5,6))"],
    "circle": ["<(1,2),3>"],
    "tsvector": ["'a':1A 'it''s':2"],
    "tsquery": ["'a' & !'b c'"],
    "pg_lsn": ["16/B374D848"],
    "xid": ["4294967295"],
    "xid8": ["18446744073709551615"],
    "cid": ["1"],
    "tid": ["(1,2)"],
    "pg_snapshot": ["10:20:10,14"],
    "txid_snapshot": ["10:20:10,14"],
    "regclass": ["pg_class"],
    "regtype": ["timestamp with time zone"],
    "regproc": ["now"],
    "regprocedure": ["abs(integer)"],
    "regrole": ["pg_monitor"],
    "regnamespace": ["pg_catalog"],
    "regconfig": ["english"],
    "regdictionary": ["simple"],
    "regoper": ["||/"],
    "regoperator": ["+(integer,integer)"],
    "refcursor": ['c "x"'],
    "int4range": ["[1,5)", "empty", "(,)"],
    "int8range": ["[1,)"],
    "numrange": ["(1.5,2.50]"],
    "tsrange": ['["2026-01-02 03:04:05","2026-01-03 00:00:00")'],
    "tstzrange": ['["2026-01-02 03:04:05+00",)'],
    "daterange": ["[2026-01-02,2026-01-05)"],
    "int4multirange": ["{[1,3),[5,7)}", "{}"],
    "tstzmultirange": ['{["2026-01-02 03:04:05+00",)}'],
    "timerange": ["[03:04,05:06]"],
    "int2vector": ["", "1", "1 -2 3"],
    "oidvector": ["", "1", "1 2 4294967295"],
    "int4[]": [
        "{}",
        "{1}",
        "{1,NULL,-3}",
        "{{1,2},{3,4}}",
        "{{{1},{2}},{{NULL},{4}}}",
        "[2:3]={1,2}",
        "[-1:0][5:5]={{1},{2}}",
        "{{{{{{1,2}}}}}}",
    ],
    "int8[]": ["{9007199254740993,-1}"],
    "bool[]": ["{t,f,NULL}"],
    "numeric[]": ["{1.50,-0.0}"],
    "float8[]": ["{1e20,0.1}"],
    "text[]": [
        "{}",
        "{a,b}",
        '{"",NULL,"NULL",null,"null"}',
        '{"say \\"hi\\"","back\\\\slash","{","}","a,b"," blank ","new\nline"}',
        '{{a,"b c"},{"d,e",f}}',
        "[0:1]={x,y}",
        '[0:0]={"[1:2]={}"}',
        "{größe,🦊}",
        '{"\\\\","\\"","\\\\\\""}',
    ],
    "varchar(3)[]": ["{abc,d}"],
    "char(3)[]": ['{"a",NULL}'],
    '"char"[]': ['{a,"{"}'],
    "name[]": ["{a,b}"],
    "uuid[]": ["{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}"],
    "date[]": ['{2026-01-02,"0044-03-15 BC"}'],
    "timestamp[]": ['{"2026-01-02 03:04:05",infinity,NULL,"0044-03-15 12:00:00 BC"}'],
    "timestamptz[]": ['{"2026-01-02 03:04:05+00","0044-03-15 12:00:00+00 BC"}'],
    "interval[]": ['{"1 day"}'],
    "json[]": ['{"{\\"a\\": [1, null]}",NULL,"null","\\"s\\"",1}'],
    "jsonb[]": ['{"{\\"a\\": {\\"b\\": \\"c\\\\\\\\d\\"}}",true,"[]"}'],
    "box[]": ["{(3,4),(1,2);(7,8),(5,6)}", "{{(3,4),(1,2)};{(7,8),(5,6)}}", "{NULL;(1,1),(0,0)}"],
    "point[]": ['{"(1,2)","(3,4)"}'],
    "int4range[]": ['{"[1,5)",empty}'],
    "int4multirange[]": ['{"{[1,3),[5,7)}","{}"}'],
    "int2vector[]": ['{"1 2","3"}'],
    "oidvector[]": ['{"1 2",""}'],
    "money[]": ['{"$1,234.50",2}'],
    "inet[]": ["{10.0.0.1,::1}"],
    "bit(2)[]": ["{10,01}"],
    "mood": ["sad", "so so", 'say "hi"', "größer, {besser}", ""],
    "mood[]": ['{sad,"so so","say \\"hi\\"","größer, {besser}","NULL",NULL,""}'],
    "positive": ["7"],
    "positive[]": ["{1,2,NULL}"],
    '"Odd Name"': ["3"],
    "tags": ['{a,"b c"}'],
    "moment": ["2026-01-02 03:04:05+00"],
    "one": ["()", '("")', "(a)", '(")")', '("a\nb")'],
    "pair": [
        "(,)",
        '(1,"b c")',
        '(-1,"say ""hi""")',
        '(1,"back\\\\slash")',
        '(1,"")',
        '(1,"(,)")',
        "(1,NULL)",
        "(1,größe)",
        '(1,"  ")',
    ],
    "pair[]": ['{"(1,\\"b c\\")",NULL,"(,)","(2,\\"q\\"\\"\\\\\\\\\\")"}', '{{"(1,a)"},{"(2,b)"}}'],
    "pair_domain": ["(1,x)"],
    "huge": ["(1" + "0" * 400 + ")"],
    "nested": [
        "(,,,,,,)",
        '(a,"(1,""b c"")","{1,NULL}","{""(1,x)"",NULL}","2026-01-02 03:04:05+00","{""k"": ""v""}",t)',
        '("q""u","(,"" \\\\ "")","{{1},{2}}",{},infinity,"""s""",f)',
    ],
    "nested[]": ['{"(a,\\"(1,\\"\\"b c\\"\\")\\",\\"{1,2}\\",,,,t)"}'],
}

# Where the JSON is not to_jsonb's, on purpose.
EXCEPTIONS = [
    ("bytea", r"\xdeadBEEF", '"deadbeef"'),
    ("bytea", "", '""'),
    ("bytea[]", r'{"\\x0001",NULL}', '["0001",null]'),
    ("float8", "NaN", "null"),
    ("float8", "-Infinity", "null"),
    ("float4", "Infinity", "null"),
    ("numeric", "NaN", "null"),
    ("float8[]", "{NaN,1}", "[null,1]"),
    ("json", '{"a": 1,  "a": 2}', '{"a": 1,  "a": 2}'),
    ("json", '"\\ud800"', '"\\ud800"'),
    ("float8", "1e20", "1e+20"),
]


@pytest.fixture
def session(database) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database.dsn, options=SETTINGS, autocommit=True) as connection:
        connection.execute(TYPES)
        if connection.info.server_version >= 110_000:
            connection.execute(TYPES_FROM_11)
        yield connection


def shape_of(session: psycopg.Connection[Any], oid: int) -> TypeShape:
    """Describe a type as the catalog knows it."""
    name, kind, category, element, base, relation, delimiter = session.execute(
        "SELECT typname, typtype::text, typcategory::text, typelem::int8, typbasetype::int8, typrelid, typdelim::text"
        " FROM pg_type WHERE oid = %s",
        [oid],
    ).fetchone()
    if kind == "d":
        return TypeShape(oid, name, TypeKind.DOMAIN, element=shape_of(session, base))
    if kind == "c":
        attributes = session.execute(
            "SELECT attname, atttypid::int8 FROM pg_attribute"
            " WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
            [relation],
        ).fetchall()
        fields = tuple((attribute, shape_of(session, type_oid)) for attribute, type_oid in attributes)
        return TypeShape(oid, name, TypeKind.COMPOSITE, fields=fields)
    if category == "A":
        return TypeShape(oid, name, TypeKind.ARRAY, element=shape_of(session, element), delimiter=delimiter)
    return TypeShape(oid, name, delimiter=delimiter)


def read_exactly(document: str | bytes) -> Any:
    return json.loads(document, parse_float=Decimal, parse_int=Decimal)


def test_a_value_becomes_what_to_jsonb_makes_of_it(session):
    compared = 0
    wrong = []
    for type_name, literals in LITERALS.items():
        oid = session.execute("SELECT to_regtype(%s)::oid::int8", [type_name]).fetchone()[0]
        if oid is None:
            continue  # an older server
        render = renderer(shape_of(session, oid))
        for literal in literals:
            # format() calls the type's output function, as the replication stream does; a cast to text would not.
            text, expected = session.execute(
                f"SELECT format('%%s', value), to_jsonb(value)::text FROM (SELECT %s::{type_name}) AS v (value)",
                [literal],
            ).fetchone()
            rendered = render(text.encode())
            compared += 1
            if read_exactly(rendered) != read_exactly(expected):
                wrong.append((type_name, text, rendered, expected))
    assert wrong == []
    assert compared > 200


def test_the_documented_exceptions_are_the_only_ones(session):
    for type_name, literal, expected in EXCEPTIONS:
        oid, text = session.execute(
            f"SELECT %s::regtype::oid::int8, format('%%s', %s::{type_name})", [type_name, literal]
        ).fetchone()
        assert renderer(shape_of(session, oid))(text.encode()) == expected.encode()


def test_the_built_in_types_are_those_of_the_catalog(session):
    for oid, name, element, delimiter in session.execute(QUERY):
        shape = builtin_shape(oid)
        if shape is None and session.info.server_version < 120_000:
            continue  # abstime and its like, which PostgreSQL 12 dropped
        assert shape is not None, f"the table of built-in types lacks {name}"
        assert (shape.name, shape.delimiter) == (
            name,
            delimiter.decode() if isinstance(delimiter, bytes) else delimiter,
        )
        assert (shape.element.oid if shape.element else 0) == element


def test_a_decoded_row_is_what_to_jsonb_makes_of_the_row(session):
    session.execute(
        """
        CREATE TABLE "all" (id bigint PRIMARY KEY, "na%me ""q" text, big text, at timestamptz, tags text[], p pair,
                            m mood, d positive, j jsonb, n numeric, ok boolean, gone integer, last text);
        ALTER TABLE "all" DROP COLUMN gone;
        ALTER TABLE "all" ALTER COLUMN big SET STORAGE EXTERNAL;
        CREATE PUBLICATION everything FOR ALL TABLES;
        """
    )
    session.execute("SELECT pg_create_logical_replication_slot('oracle', 'pgoutput')")
    session.execute(
        """
        INSERT INTO "all" VALUES
          (1, 'ä"', repeat('x', 10000), '2026-01-02 03:04:05+00', '{a,"b c"}', '(1,"b c")', 'so so', 5,
           '{"a": 1}', 1.50, 't', NULL),
          (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
        """
    )
    expected = session.execute("SELECT to_jsonb(a)::text, to_jsonb(a) - 'big' FROM \"all\" AS a ORDER BY id").fetchall()
    session.execute('UPDATE "all" SET ok = false WHERE id = 1')
    session.execute('UPDATE "all" SET id = 3 WHERE id = 1')
    session.execute('DELETE FROM "all" WHERE id = 3')
    session.execute('ALTER TABLE "all" REPLICA IDENTITY FULL')
    session.execute("UPDATE \"all\" SET last = 'l' WHERE id = 2")
    session.execute('TRUNCATE "all"')

    changes = decode_slot(session, "oracle")

    kinds = [change.kind.value for change in changes]
    assert kinds == ["INSERT", "INSERT", "UPDATE", "UPDATE", "DELETE", "UPDATE"]
    first, second, toasted, rekeyed, deleted, full = changes
    assert read_exactly(first.record) == read_exactly(expected[0][0])
    assert read_exactly(second.record) == read_exactly(expected[1][0])
    assert json.loads(toasted.record) == {**expected[0][1], "ok": False}
    assert json.loads(toasted.old_record) == {"id": 1}
    assert json.loads(rekeyed.record)["id"] == 3
    assert json.loads(rekeyed.old_record) == {"id": 1}
    assert deleted.old_record == b'{"id":3}'
    assert json.loads(full.old_record) == json.loads(expected[1][0])
    assert json.loads(full.record) == {**json.loads(expected[1][0]), "last": "l"}


def decode_slot(session: psycopg.Connection[Any], slot: str) -> list[Change]:
    """Decode what a slot holds, from the messages that the function behind SQL returns."""
    messages = session.execute(
        "SELECT data FROM pg_logical_slot_get_binary_changes(%s, NULL, NULL, 'proto_version', '1',"
        " 'publication_names', 'everything')",
        [slot],
    ).fetchall()
    decoder = Decoder()
    changes = []
    for (data,) in messages:
        message = decoder.decode(data)
        if isinstance(message, RelationMessage):
            decoder.readers[message.relation.oid] = make_row_reader(describe(session, message.relation))
        elif isinstance(message, Change):
            changes.append(message)
    return changes


def describe(session: psycopg.Connection[Any], relation: Relation) -> Table:
    types = tuple(shape_of(session, column.type_oid) for column in relation.columns)
    key = tuple(number for number, column in enumerate(relation.columns) if column.name == "id")
    return Table(relation, types, key)
