from collections.abc import Sequence
from dataclasses import replace

import pytest
from making import INT8, NUMERIC, TEXT

from pgcast.engine.bindings import entry_of, has_table, legacy_condition
from pgcast.engine.ports import PublishedTable
from pgcast.matching.conditions import Condition, Junction, Question
from pgcast.matching.index import Entry
from pgcast.model.binding import Binding
from pgcast.model.errors import BindingError
from pgcast.model.relation import Collation, Relation, Table, TypeKind, TypeShape
from pgcast.model.snapshot import Snapshot

C = Collation('pg_catalog."C"', is_bytewise=True, is_deterministic=True, folds_ascii=True)
BOOL = TypeShape(16, "bool")
JSONB = TypeShape(3802, "jsonb")
JSON = TypeShape(114, "json")
POINT = TypeShape(600, "point")
YES = TypeShape(90_000, "yes", TypeKind.DOMAIN, BOOL)

TODOS = PublishedTable(
    1,
    "public",
    "todos",
    (
        ("id", INT8),
        ("title", replace(TEXT, collation=C)),
        ("done", BOOL),
        ("sure", YES),
        ("price", NUMERIC),
        ("data", JSONB),
        ("raw", JSON),
        ("at", POINT),
        ("a->b", INT8),
    ),
)
USERS = PublishedTable(2, "public", "users", (("id", TEXT),))


class MemoryCatalog:
    """A catalog that casts nothing but numbers, and remembers what it had to compare."""

    def __init__(self) -> None:
        self.decided: list[tuple[Question, Sequence[bytes | None]]] = []

    async def published_tables(self, *, is_fresh: bool = False) -> Sequence[PublishedTable]:
        raise AssertionError(is_fresh)

    async def canonical_text(self, type_shape: TypeShape, text: str) -> bytes:
        if not text.isdecimal():
            raise BindingError(f'invalid input syntax for type {type_shape.name}: "{text}"')
        return text.encode()

    async def decide(self, question: Question, values: Sequence[bytes | None]) -> Sequence[bool | None]:
        self.decided.append((question, values))
        return [None for _ in values]

    async def describe(self, relation: Relation) -> Table:
        raise AssertionError(relation)

    async def snapshot(self) -> Snapshot:
        raise AssertionError

    async def close(self) -> None:
        """Nothing is open."""


async def entry(text: str, **more: object) -> Entry:
    binding = Binding(**{"id": 1, "event": None, "schema": "public", "table": "todos", "filter": text, **more})  # type: ignore[arg-type]
    return await entry_of(binding, [TODOS, USERS], MemoryCatalog())


async def test_a_filter_becomes_conditions():
    made = await entry('id=gt.5,or=(title.like.a%,not.and(done.is.true,id.not.in.(1,2))),title=eq."a,b"')
    assert made.conditions == (
        Condition("id", "gt", ("5",), canonical=((20, (b"5",)),)),
        Junction(
            True,
            (
                Condition("title", "like", ("a%",)),
                Junction(
                    False,
                    (
                        Condition("done", "is", ("true",)),
                        Condition("id", "in", ("1", "2"), True, canonical=((20, (b"1", b"2")),)),
                    ),
                    True,
                ),
            ),
        ),
        Condition("title", "eq", ("a,b",), canonical=((25, (b"a,b",)),)),
    )


async def test_paths_into_json():
    assert (await entry("data->a->0->>b=eq.x")).conditions == (
        Condition("data", "eq", ("x",), path=("a", 0, "b"), is_text=True, canonical=((25, (b"x",)),)),
    )
    assert (await entry("data->a=eq.7")).conditions == (
        Condition("data", "eq", ("7",), path=("a",), canonical=((3802, (b"7",)),)),
    )
    (by_name,) = (await entry("a->b=eq.7")).conditions
    assert isinstance(by_name, Condition)
    assert by_name.column == "a->b"


async def test_what_only_postgres_can_compare_is_tried_once_at_the_join():
    catalog = MemoryCatalog()
    tables = [PublishedTable(1, "public", "todos", (("id", INT8), ("name", TypeShape(90_001, "citext"))))]
    for text, question in (
        ("name=like.a%", Question(90_001, None, "like", ("a%",))),
        ("or=(id.eq.1,name.not.in.(7,null))", Question(90_001, None, "in", ("7", None))),
    ):
        made = await entry_of(Binding(1, None, "public", "todos", text), tables, catalog)
        assert made.asks
        asked, values = catalog.decided.pop()
        assert (asked, len(values)) == (question, 2)
    assert not (await entry("id=eq.1")).asks


async def test_a_domain_over_boolean_is_one():
    await entry("sure=is.true")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nope=eq.1", "invalid column for filter nope"),
        ("or=(id.eq.1,nope.eq.1)", "invalid column for filter nope"),
        ("nope->>a=eq.1", "invalid column for filter nope->>a"),
        ("data->>a->b=eq.1", "invalid column for filter data->>a->b"),
        ("data->>=eq.1", "invalid column for filter data->>"),
        ("id->>a=eq.1", "a path like id->>a needs a json or jsonb column, got int8"),
        ("id=eq.x", 'invalid input syntax for type int8: "x"'),
        ("id=in.(1,x)", 'invalid input syntax for type int8: "x"'),
        ("id=is.maybe", "invalid value for is filter: must be null, true, false, or unknown"),
        ("id=is.true", "is true filter requires a boolean column, got int8"),
        ("id=like.1%", "operator like requires a text-compatible column type, got int8"),
        ("data->a=like.1%", "operator like requires a text-compatible column type, got jsonb"),
        ("id=not.imatch.1", "operator imatch requires a text-compatible column type, got int8"),
        ("title=like.a\\", "LIKE pattern must not end with escape character"),
        ("title=match.a\0b", "no value of PostgreSQL's contains a zero byte"),
        ("raw=eq.1", "operator eq does not exist for type json"),
        ("raw->a=eq.1", "operator eq does not exist for type json"),
        ("at=in.(1)", "operator in does not exist for type point"),
        (f"id=in.({'1,' * 100}1)", "too many values for `in` filter. Maximum 100"),
    ],
)
async def test_what_cannot_be_served_is_refused_with_the_parameters(text: str, message: str):
    with pytest.raises(BindingError) as refused:
        await entry(text)
    assert refused.value.message == (
        "Unable to subscribe to changes with given parameters. An exception happened so please check your connect "
        f"parameters: [event: *, schema: public, table: todos, filters: [{text}], select: nil]. Exception: {message}"
    )


async def test_an_unknown_table_is_refused():
    with pytest.raises(BindingError, match="Please check Realtime is enabled for the given connect parameters"):
        await entry("id=eq.1", table="nope")


def test_tables_are_found_by_parts_of_their_name():
    assert has_table([TODOS], "public", "todos")
    assert has_table([TODOS], None, None)
    assert not has_table([TODOS], "private", None)


async def test_the_condition_of_an_old_topic():
    condition = await legacy_condition("id", "7", [TODOS, USERS], ("public", None), MemoryCatalog())
    assert condition == Condition("id", "eq", ("7",), canonical=((20, (b"7",)), (25, (b"7",))))
