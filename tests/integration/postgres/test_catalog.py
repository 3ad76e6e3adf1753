from __future__ import annotations

import asyncio
import os
import re
import signal
import time

import pytest

from pgcast.matching.conditions import Question
from pgcast.model.errors import BindingError, ConnectionFailed, DatabaseError
from pgcast.model.relation import Collation, Column, Relation, ReplicaIdentity, TypeKind, TypeShape
from pgcast.postgres.catalog import PostgresCatalog
from pgcast.postgres.connection import Target, parse_target


@pytest.fixture(params=["unix", "tcp"])
async def catalog(request, database):
    target = parse_target(database.dsn if request.param == "unix" else database.tcp_dsn)
    made = PostgresCatalog(target, publications=["p", "q"])
    yield made
    await made.close()
    await made.close()


def announced(database, table, *, identity=ReplicaIdentity.DEFAULT, keys=()):
    """Return the relation as the stream would announce it; the name is SQL."""
    rows = database.execute(
        "SELECT c.oid::int8, n.nspname, c.relname, a.attname, a.atttypid::int8, a.atttypmod FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid"
        " WHERE c.oid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum",
        [table],
    )
    columns = tuple(Column(name, type_oid, modifier, name in keys) for *_, name, type_oid, modifier in rows)
    return Relation(rows[0][0], rows[0][1], rows[0][2], identity, columns)


def spell(shape: TypeShape) -> str:
    """Write a shape as text: `int4`, `mood`, `[text]`, `positive=int4`, `pair(a int4, b [text])`."""
    if shape.kind is TypeKind.ARRAY:
        assert shape.element is not None
        return f"[{spell(shape.element)}]" + ("" if shape.delimiter == "," else shape.delimiter)
    if shape.kind is TypeKind.DOMAIN:
        assert shape.element is not None
        return f"{shape.name}={spell(shape.element)}"
    if shape.kind is TypeKind.COMPOSITE:
        return f"{shape.name}({', '.join(f'{name} {spell(field)}' for name, field in shape.fields)})"
    return shape.name


@pytest.mark.postgres(11, why="arrays of domains came with version 11")
async def test_every_kind_of_type_is_taken_apart(database, catalog):
    database.execute("""
        CREATE TYPE mood AS ENUM ('sad', 'ok');
        CREATE DOMAIN positive AS int CHECK (VALUE > 0);
        CREATE DOMAIN more_positive AS positive;
        CREATE DOMAIN tags AS text[];
        CREATE TYPE pair AS (a int, b text[]);
        CREATE TYPE nest AS (p pair, ps pair[], m mood, d more_positive);
        CREATE TYPE "o'dd ""type"" 🐘.x" AS ("a.b" mood);
        CREATE TYPE span AS RANGE (subtype = int);
        CREATE TABLE t (
            i int PRIMARY KEY, v varchar(5), c char(3), n numeric(10, 2)[], b box[], bs boolean[], m mood, ms mood[],
            d positive, ds more_positive[], g tags, gs tags[], p pair, n1 nest, n2 nest[], s span, ss span[],
            o "o'dd ""type"" 🐘.x", vec int2vector, ovec oidvector, vecs int2vector[], nm name, pt point, ch "char",
            j jsonb, u uuid[], r pg_class
        )
    """)
    table = await catalog.describe(announced(database, "t"))
    spelled = {column.name: spell(shape) for column, shape in zip(table.relation.columns, table.types, strict=True)}
    row_type = spelled.pop("r")
    assert row_type.startswith("pg_class(")
    assert "relname name, relnamespace oid" in row_type
    pair = "pair(a int4, b [text])"
    nest = f"nest(p {pair}, ps [{pair}], m mood, d more_positive=positive=int4)"
    assert spelled == {
        "i": "int4", "v": "varchar", "c": "bpchar", "n": "[numeric]", "b": "[box];", "bs": "[bool]", "m": "mood",
        "ms": "[mood]", "d": "positive=int4", "ds": "[more_positive=positive=int4]", "g": "tags=[text]",
        "gs": "[tags=[text]]", "p": pair, "n1": nest, "n2": f"[{nest}]", "s": "span", "ss": "[span]",
        "o": "o'dd \"type\" 🐘.x(a.b mood)", "vec": "int2vector", "ovec": "oidvector", "vecs": "[int2vector]",
        "nm": "name", "pt": "point", "ch": "char", "j": "jsonb", "u": "[uuid]",
    }  # fmt: skip
    assert [shape.name for shape in table.types[3:5]] == ["_numeric", "_box"]


async def test_a_type_that_has_changed_is_seen_at_the_next_look(database, catalog):
    database.execute("CREATE TYPE pair AS (a int); CREATE TABLE t (p pair)")
    relation = announced(database, "t")
    assert spell((await catalog.describe(relation)).types[0]) == "pair(a int4)"
    database.execute("ALTER TYPE pair ADD ATTRIBUTE b text; ALTER TYPE pair RENAME TO couple")
    assert spell((await catalog.describe(relation)).types[0]) == "couple(a int4, b text)"


async def test_keys_are_found_by_name_where_the_identity_hides_them(database, catalog):
    database.execute('CREATE TABLE t (a int, "b.""c" int, d int, PRIMARY KEY (d, "b.""c"))')
    full = announced(database, "t", identity=ReplicaIdentity.FULL, keys=["a", 'b."c', "d"])
    assert (await catalog.describe(full)).primary_key == (1, 2)
    # The catalog of now does not know the column of then: better no key than half of one.
    database.execute("ALTER TABLE t RENAME COLUMN d TO e")
    assert (await catalog.describe(full)).primary_key == ()


async def test_under_the_default_identity_the_announced_key_counts(database, catalog):
    database.execute("CREATE TABLE t (a int PRIMARY KEY, b int)")
    relation = announced(database, "t", keys=["a"])
    database.execute("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (b)")
    assert (await catalog.describe(relation)).primary_key == (0,)


def flagged(table):
    return [column.name for column in table.relation.columns if column.is_key]


@pytest.mark.postgres(11, why="keys of partitioned tables came with version 11")
async def test_a_partitioned_table_has_the_identity_that_every_leaf_covers(database, catalog):
    database.execute("""
        CREATE TABLE r (a int, b int NOT NULL, c int, PRIMARY KEY (a, b)) PARTITION BY LIST (a);
        CREATE TABLE one PARTITION OF r FOR VALUES IN (1);
        CREATE TABLE more PARTITION OF r FOR VALUES IN (2, 3) PARTITION BY LIST (a);
        CREATE TABLE two PARTITION OF more FOR VALUES IN (2);
        CREATE UNIQUE INDEX i ON two (b)
    """)
    default = announced(database, "r", keys=["a", "b"])
    full = announced(database, "r", identity=ReplicaIdentity.FULL, keys=["a", "b", "c"])

    async def known():
        return [flagged(await catalog.describe(relation)) for relation in (default, full)]

    assert await known() == [["a", "b"], ["a", "b"]]
    assert (await catalog.describe(default)).relation is default
    database.execute("ALTER TABLE one REPLICA IDENTITY FULL; ALTER TABLE more REPLICA IDENTITY NOTHING")
    assert await known() == [["a", "b"], ["a", "b"]]
    database.execute("ALTER TABLE two REPLICA IDENTITY FULL")
    assert await known() == [["a", "b"], ["a", "b", "c"]]
    database.execute("ALTER TABLE two REPLICA IDENTITY USING INDEX i")
    assert await known() == [["b"], ["b"]]
    # The primary key is the root's all the same.
    assert (await catalog.describe(default)).primary_key == (0, 1)
    database.execute("ALTER TABLE one REPLICA IDENTITY NOTHING")
    assert await known() == [[], []]


async def test_what_postgres_does_not_announce_is_found_by_asking(database, catalog):
    database.execute("""
        CREATE SCHEMA s; CREATE TYPE pair AS (a int); CREATE TYPE mood AS ENUM ('ok');
        CREATE TABLE s.t (a int PRIMARY KEY, p pair, ps pair[]); CREATE TABLE u (a int, m mood); CREATE TABLE v (a int)
    """)
    t, u, v = [await catalog.describe(announced(database, name, keys=["a"])) for name in ("s.t", "u", "v")]
    assert await catalog.altered([t, u, v]) == {}
    database.execute(
        "ALTER SCHEMA s RENAME TO z; ALTER TYPE pair ADD ATTRIBUTE b text; ALTER TYPE mood RENAME TO humour"
    )
    altered = await catalog.altered([t, u, v])
    assert set(altered) == {t.relation.oid, u.relation.oid}
    now = altered[t.relation.oid]
    assert (now.schema, now.name, now.primary_key, flagged(now)) == ("z", "t", (0,), ["a"])
    assert [spell(shape) for shape in now.types] == ["int4", "pair(a int4, b text)", "[pair(a int4, b text)]"]
    assert [spell(shape) for shape in altered[u.relation.oid].types] == ["int4", "humour"]
    # Rows of what is gone may still be on their way, and are described as before.
    database.execute("ALTER TABLE z.t DROP p, DROP ps; DROP TABLE u; DROP TYPE pair, humour")
    assert await catalog.altered([now, u, v]) == {u.relation.oid: None}


async def test_a_table_of_many_columns_is_listed_in_time(database, catalog):
    """Joins wait for the list; the view of it costs as much for each column as a table has columns."""
    columns = ", ".join(f"c{number} text" for number in range(1599))
    database.execute(f"CREATE TABLE wide (id int PRIMARY KEY, {columns}); CREATE PUBLICATION p FOR ALL TABLES")
    started_s = time.monotonic()
    (wide,) = await catalog.published_tables()
    assert time.monotonic() - started_s < 2
    assert [name for name, _ in wide.columns] == ["id", *(f"c{number}" for number in range(1599))]


async def test_a_columns_own_collation_is_no_alteration_of_its_type(database, catalog):
    database.execute("""
        CREATE DOMAIN label AS text; CREATE COLLATION far (LOCALE = 'C');
        CREATE TABLE t (a int PRIMARY KEY, b label COLLATE far)
    """)
    t = await catalog.describe(announced(database, "t", keys=["a"]))
    assert t.types[1].collation is not None
    assert await catalog.altered([t]) == {}
    database.execute("ALTER DOMAIN label RENAME TO tag")
    now = (await catalog.altered([t]))[t.relation.oid]
    assert (spell(now.types[1]), now.types[1].collation) == ("tag=text", t.types[1].collation)


async def test_row_security_is_seen(database, catalog):
    database.execute("CREATE TABLE t (a int)")
    relation = announced(database, "t")
    assert not (await catalog.describe(relation)).has_row_security
    database.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    assert (await catalog.describe(relation)).has_row_security


async def test_what_was_dropped_is_described_from_its_announcement(database, catalog):
    database.execute("CREATE TYPE mood AS ENUM ('ok'); CREATE TABLE t (a int PRIMARY KEY, m mood)")
    relation = announced(database, "t", keys=["a"])
    database.execute("DROP TABLE t; DROP TYPE mood")
    table = await catalog.describe(relation)
    assert table.relation is relation
    assert [shape.name for shape in table.types] == ["int4", "unknown"]
    assert table.types[1].oid == relation.columns[1].type_oid
    assert (table.primary_key, table.has_row_security) == ((0,), False)


async def test_a_snapshot_sees_what_is_committed_and_nothing_else(database, catalog):
    database.execute("CREATE TABLE t (a int)")
    with database.connect() as connection:
        ((before,),) = database.execute("INSERT INTO t VALUES (1) RETURNING xmin::text::int8")
        with connection.transaction():
            (open_xid,) = connection.execute("INSERT INTO t VALUES (1) RETURNING xmin::text::int8").fetchone()
            snapshot = await catalog.snapshot()
    ((after,),) = database.execute("INSERT INTO t VALUES (1) RETURNING xmin::text::int8")
    assert [snapshot.sees(xid) for xid in (before, open_xid, after)] == [True, False, False]
    assert snapshot.insert_lsn > 0


async def test_published_tables_are_those_of_the_followed_publications(database, catalog):
    database.execute("""
        CREATE SCHEMA "s.""x"; CREATE TABLE "s.""x"."t 🐘" (a int PRIMARY KEY, b text[], gone int);
        ALTER TABLE "s.""x"."t 🐘" DROP COLUMN gone;
        CREATE TABLE plain (a int PRIMARY KEY); CREATE TABLE hidden (a int);
        CREATE PUBLICATION p FOR TABLE "s.""x"."t 🐘", plain;
        CREATE PUBLICATION q FOR TABLE plain;
        CREATE PUBLICATION other FOR TABLE hidden
    """)
    tables = await catalog.published_tables()
    assert columns_of(tables) == [
        ("public", "plain", [("a", "int4")]), ('s."x', "t 🐘", [("a", "int4"), ("b", "[text]")]),
    ]  # fmt: skip
    assert [(t.oid,) for t in tables[:1]] == database.execute("SELECT 'plain'::regclass::oid::int8")


def columns_of(tables):
    return [(t.schema, t.name, [(name, spell(shape)) for name, shape in t.columns]) for t in tables]


@pytest.mark.postgres(12, why="generated columns came with version 12")
async def test_generated_columns_are_not_among_the_published(database, catalog):
    database.execute("""
        CREATE TABLE generated (a int PRIMARY KEY, g int GENERATED ALWAYS AS (a + 1) STORED);
        CREATE PUBLICATION p FOR TABLE generated
    """)
    assert columns_of(await catalog.published_tables()) == [("public", "generated", [("a", "int4")])]


@pytest.mark.postgres(15, why="column lists came with version 15")
async def test_columns_outside_a_column_list_are_not_among_the_published(database, catalog):
    database.execute("""
        CREATE TABLE listed (a int PRIMARY KEY, b int, c int); CREATE PUBLICATION p FOR TABLE listed (a, c)
    """)
    assert columns_of(await catalog.published_tables()) == [("public", "listed", [("a", "int4"), ("c", "int4")])]


async def test_who_asks_between_an_answer_and_its_end_does_not_wait_for_ever(catalog):
    """The answer is there, and those who wait for it have not run yet: the loop must go on for them to."""
    await catalog.published_tables()
    answered = asyncio.get_running_loop().create_future()
    answered.set_result(None)
    catalog._asking = answered
    assert await catalog.published_tables(is_fresh=True) == []


async def test_published_tables_are_asked_for_once_a_second(database, catalog):
    database.execute("CREATE TABLE t (a int); CREATE PUBLICATION p FOR ALL TABLES")
    answers = await asyncio.gather(*(catalog.published_tables() for _ in range(20)))
    assert all(answer is answers[0] for answer in answers)
    database.execute("CREATE TABLE u (a int)")
    assert await catalog.published_tables() is answers[0]
    await asyncio.sleep(1.05)
    assert [table.name for table in await catalog.published_tables()] == ["t", "u"]


async def shape(database, catalog, sql_type) -> TypeShape:
    database.execute(f"CREATE TABLE one_column (v {sql_type})")
    table = await catalog.describe(announced(database, "one_column"))
    database.execute("DROP TABLE one_column")
    return table.types[0]


@pytest.mark.parametrize(
    ("sql_type", "text", "canonical"),
    [
        ("boolean", "yes", b"t"),
        ("int", " 007 ", b"7"),
        ("numeric", "1e3", b"1000"),
        ("float8", "0.50", b"0.5"),
        ("text", 'it\'s \\ "quoted"', b'it\'s \\ "quoted"'),
        ("timestamptz", "2026-01-02 03:04:05+02", b"2026-01-02 01:04:05+00"),
        ("interval", "90 minutes", b"01:30:00"),
        ("uuid", "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", b"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("jsonb", '{"b":1,  "a":2}', b'{"a": 2, "b": 1}'),
        ("int[]", "{ 1, 2,NULL}", b"{1,2,NULL}"),
        ("bytea", "\\xDEAD", b"\\xdead"),
        ("bit", "1", b"1"),
        ('"char"', "x", b"x"),
        ("char(5)", "ab", b"ab"),
        ("text", "", b""),
    ],
)
async def test_a_text_is_cast_to_what_the_stream_would_carry(database, catalog, sql_type, text, canonical):
    wanted = await shape(database, catalog, sql_type)
    assert await catalog.canonical_text(wanted, text) == canonical
    assert await catalog.canonical_text(wanted, text) == canonical


async def test_types_with_odd_names_and_in_other_schemas_can_be_cast_to(database, catalog):
    database.execute("""CREATE SCHEMA "a.b"; CREATE TYPE "a.b"."m""ood" AS ENUM ('sad', 'ok')""")
    mood = await shape(database, catalog, '"a.b"."m""ood"')
    assert await catalog.canonical_text(mood, "ok") == b"ok"
    with pytest.raises(BindingError, match=re.escape('invalid input value for enum "a.b"."m""ood": "glad"')):
        await catalog.canonical_text(mood, "glad")


async def test_a_refused_cast_is_a_binding_error_with_the_words_of_postgres(database, catalog):
    integer = await shape(database, catalog, "int")
    with pytest.raises(BindingError) as caught:
        await catalog.canonical_text(integer, "abc")
    assert re.fullmatch(r'invalid input syntax for (type )?integer: "abc"', caught.value.message)
    with pytest.raises(BindingError, match="out of range"):
        await catalog.canonical_text(integer, "99999999999")
    database.execute("CREATE DOMAIN positive AS int CHECK (VALUE > 0)")
    positive = await shape(database, catalog, "positive")
    with pytest.raises(BindingError, match="violates check constraint"):
        await catalog.canonical_text(positive, "-1")
    with pytest.raises(BindingError, match="zero byte"):
        await catalog.canonical_text(integer, "1\0")
    with pytest.raises(BindingError, match="does not exist any more"):
        await catalog.canonical_text(TypeShape(4_000_000_000, "gone"), "1")


async def test_what_a_users_type_makes_of_a_text_is_remembered_for_a_second(database, catalog):
    database.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    mood = await shape(database, catalog, "mood")
    assert await catalog.canonical_text(mood, "sad") == b"sad"
    database.execute("ALTER TYPE mood RENAME VALUE 'sad' TO 'blue'")
    assert await catalog.canonical_text(mood, "sad") == b"sad"
    await asyncio.sleep(1.05)
    with pytest.raises(BindingError, match="invalid input value for enum"):
        await catalog.canonical_text(mood, "sad")


async def test_the_present_moment_is_not_remembered(database, catalog):
    moment = await shape(database, catalog, "timestamptz")
    first = await catalog.canonical_text(moment, "now")
    assert await catalog.canonical_text(moment, "now") != first


async def test_a_database_that_is_away_is_an_error_at_once_and_then_an_answer_again(own_cluster):
    cluster = own_cluster()
    catalog = PostgresCatalog(parse_target(cluster.dsn()), publications=[])
    await asyncio.gather(*(catalog.snapshot() for _ in range(10)))
    await asyncio.to_thread(cluster.stop, "fast")
    started = time.monotonic()
    with pytest.raises(ConnectionFailed):
        await catalog.snapshot()
    with pytest.raises(ConnectionFailed):
        await catalog.published_tables()
    assert time.monotonic() - started < 2
    await asyncio.to_thread(cluster.start)
    assert (await catalog.snapshot()).insert_lsn > 0
    # Stopped and started again between two questions: nobody notices.
    await asyncio.to_thread(cluster.restart, "fast")
    assert (await catalog.snapshot()).insert_lsn > 0
    await catalog.close()
    with pytest.raises(DatabaseError, match="closed"):
        await catalog.snapshot()


async def test_a_database_that_hangs_costs_no_more_than_the_deadline(own_cluster):
    cluster = own_cluster()
    catalog = PostgresCatalog(parse_target(cluster.dsn()), publications=[], timeout_s=0.5)
    await catalog.snapshot()
    with cluster.connect() as connection:
        rows = connection.execute("SELECT pid FROM pg_stat_activity WHERE application_name = 'pgcast'").fetchall()
    pids = [pid for (pid,) in rows]
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        started = time.monotonic()
        with pytest.raises(DatabaseError, match=r"no answer within 0\.5 s"):
            await catalog.snapshot()
        assert time.monotonic() - started < 4
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
    assert (await catalog.snapshot()).insert_lsn > 0
    await catalog.close()


async def test_nothing_is_connected_before_the_first_question():
    catalog = PostgresCatalog(Target(host="127.0.0.1", port="1", user="u", dbname="d"), publications=["p"])
    with pytest.raises(ConnectionFailed, match="refused"):
        await catalog.snapshot()
    await catalog.close()


async def test_how_text_is_compared_and_which_old_values_are_known(database, catalog):
    database.execute("""
        CREATE COLLATION other (provider = libc, locale = 'C.UTF-8');
        CREATE TABLE t (id int PRIMARY KEY, plain text, bytes varchar COLLATE "C", far text COLLATE other, tags text[]);
        CREATE TABLE whole (a int, b text);
        ALTER TABLE whole REPLICA IDENTITY FULL;
        CREATE PUBLICATION p FOR TABLE t, whole;
    """)
    t, whole = await catalog.published_tables()
    described = await catalog.describe(announced(database, "t", keys=("id",)))
    names = [column.name for column in described.relation.columns]
    for shapes in (dict(t.columns), dict(zip(names, described.types, strict=True))):
        assert shapes["id"].collation is None
        assert shapes["plain"].collation == Collation('pg_catalog."default"', True, True, True)
        assert shapes["bytes"].collation == Collation('pg_catalog."C"', True, True, True)
        assert shapes["far"].collation == Collation("public.other", False, True, False)
        assert shapes["tags"].collation == shapes["plain"].collation
    assert t.identity == {"id"}
    assert whole.identity == {"a", "b"}


async def test_a_comparison_is_made_by_postgres_or_refused(database, catalog):
    database.execute("CREATE TYPE mood AS ENUM ('sad', 'ok')")
    ((oid,),) = database.execute("SELECT 'mood'::regtype::oid::int8")
    assert await catalog.decide(Question(oid, None, "lt", ("ok",)), [b"sad", b"ok", None]) == [True, False, None]
    database.execute("CREATE DOMAIN bright AS mood; CREATE DOMAIN very_bright AS bright CHECK (VALUE IS NOT NULL)")
    ((domain,),) = database.execute("SELECT 'very_bright'::regtype::oid::int8")
    assert await catalog.decide(Question(domain, None, "lt", ("ok",)), [b"sad", b"ok", None]) == [True, False, None]
    assert await catalog.decide(Question(25, None, "imatch", ("^A",)), [b"ab", b"b"]) == [True, False]
    assert await catalog.decide(Question(25, None, "in", ()), [b"ab"]) == [False]
    with pytest.raises(BindingError, match="invalid input value for enum"):
        await catalog.decide(Question(oid, None, "lt", ("ok",)), [b"gone"])
    with pytest.raises(BindingError, match="does not exist any more"):
        await catalog.decide(Question(4_000_000_000, None, "lt", ("ok",)), [b"sad"])
    with pytest.raises(BindingError, match="not UTF-8"):
        await catalog.decide(Question(25, None, "match", ("a",)), [b"\xff"])


@pytest.mark.parametrize("type_name", ["folded", "named"], ids=["itself", "under a domain"])
async def test_a_types_own_operators_count_though_a_built_in_one_would_do(database, catalog, type_name):
    """As with citext: it turns into text by itself, and in our sessions only text's operators are in the path."""
    database.execute(r"""
        CREATE SCHEMA "an extension's";
        SET search_path = "an extension's", pg_catalog;
        CREATE TYPE folded;
        CREATE FUNCTION folded_in(cstring) RETURNS folded LANGUAGE internal IMMUTABLE STRICT AS 'textin';
        CREATE FUNCTION folded_out(folded) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
        CREATE TYPE folded (INPUT = folded_in, OUTPUT = folded_out, LIKE = text);
        CREATE CAST (folded AS text) WITHOUT FUNCTION AS IMPLICIT;
        CREATE FUNCTION same(folded, folded) RETURNS bool LANGUAGE sql IMMUTABLE STRICT AS
            'SELECT pg_catalog.lower($1::text) OPERATOR(pg_catalog.=) pg_catalog.lower($2::text)';
        CREATE FUNCTION differs(folded, folded) RETURNS bool LANGUAGE sql IMMUTABLE STRICT AS
            'SELECT pg_catalog.lower($1::text) OPERATOR(pg_catalog.<>) pg_catalog.lower($2::text)';
        CREATE FUNCTION fits(folded, text) RETURNS bool LANGUAGE sql IMMUTABLE STRICT AS
            'SELECT $1::text OPERATOR(pg_catalog.~~*) $2';
        CREATE FUNCTION fits(folded, folded) RETURNS bool LANGUAGE sql IMMUTABLE STRICT AS
            'SELECT $1::text OPERATOR(pg_catalog.~~*) $2::text';
        CREATE OPERATOR = (LEFTARG = folded, RIGHTARG = folded, PROCEDURE = same);
        CREATE OPERATOR <> (LEFTARG = folded, RIGHTARG = folded, PROCEDURE = differs);
        CREATE OPERATOR ~~ (LEFTARG = folded, RIGHTARG = text, PROCEDURE = fits);
        CREATE OPERATOR ~~ (LEFTARG = folded, RIGHTARG = folded, PROCEDURE = fits);
        CREATE DOMAIN named AS folded
    """)
    ((oid,),) = database.execute(
        "SELECT oid::int8 FROM pg_type WHERE typname = %s AND typnamespace = '\"an extension''s\"'::regnamespace",
        [type_name],
    )
    values = [b"Milk", b"bread", None]

    async def says(operator: str, *operands: str | None) -> list[bool | None]:
        return await catalog.decide(Question(oid, None, operator, operands), values)

    assert await says("eq", "mILK") == [True, False, None]
    assert await says("neq", "mILK") == [False, True, None]
    assert await says("in", "x", "mILK") == [True, False, None]
    assert await says("in", "mILK", None) == [True, None, None]
    assert await says("isdistinct", "mILK") == [False, True, True]
    assert await says("isdistinct", None) == [True, True, False]
    assert await says("like", "mi%") == [True, False, None]
    assert await says("gt", "Z") == [False, True, None], "what it has not itself is text's"
