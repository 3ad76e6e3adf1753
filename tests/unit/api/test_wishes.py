"""What a program asks for, read and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from memory_source import MemoryCatalog

from pgcast.api.wishes import entries_for, kinds_of, place_of
from pgcast.model.change import Kind
from pgcast.model.errors import BindingError

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("orders", ("public", "orders")),
        ("sales.orders", ("sales", "orders")),
        ("sales.*", ("sales", None)),
        ("*", (None, None)),
        ('"my.schema"."a ""b"""', ("my.schema", 'a "b"')),
    ],
)
def test_a_table_is_read(text: str, place: tuple[str | None, str | None]):
    assert place_of(text) == place


@pytest.mark.parametrize("text", ["", "a.b.c", ".", "a.", 'say "hi"'])
def test_what_is_no_table_is_refused(text: str):
    with pytest.raises(BindingError, match="is no table") as raised:
        place_of(text)
    assert "public.orders" in raised.value.hint


def test_events_are_read():
    assert kinds_of(["INSERT", "TRUNCATE"]) == {Kind.INSERT, Kind.TRUNCATE}
    with pytest.raises(BindingError, match="'insert'"):
        kinds_of(["insert"])
    with pytest.raises(BindingError, match="none at all"):
        kinds_of([])


async def ask(*tables: str, events: Sequence[str] = ("INSERT",), filter: str | None = None):  # noqa: A002
    kinds = kinds_of(events)
    return await entries_for(MemoryCatalog(), ["one", "two"], tables=tables, kinds=kinds, filter=filter)  # type: ignore[arg-type]


async def test_each_table_becomes_an_entry():
    one, other = await ask("todos", "*", events=["INSERT", "DELETE"], filter="id=eq.3")
    assert (one.id, one.schema, one.table, one.kinds) == (1, "public", "todos", {Kind.INSERT, Kind.DELETE})
    assert (other.id, other.schema, other.table) == (2, None, None)
    assert one.conditions
    (truncates,) = await ask("todos", events=["TRUNCATE"], filter="")
    assert truncates.kinds == {Kind.TRUNCATE}


@pytest.mark.parametrize(
    ("tables", "more", "words"),
    [
        (
            ["Nowhere"],
            {},
            [
                "public.Nowhere is in none of the publications",
                "one, two",
                "published are public.todos",
                'ALTER PUBLICATION "one" ADD TABLE "public"."Nowhere";',
            ],
        ),
        (["*.todos"], {}, ["the schema has to be named"]),
        ([], {}, ["tables", "none at all"]),
        (["todos"], {"filter": "colour=eq.red"}, ["filter 'colour=eq.red': invalid column for filter colour"]),
        (["todos"], {"filter": "id=nonsense"}, ["filter 'id=nonsense'"]),
        (["todos"], {"events": ["TRUNCATE"], "filter": "id=eq.1"}, ["a TRUNCATE passes no filter"]),
    ],
    ids=str,
)
async def test_what_cannot_be_served_is_said(tables: list[str], more: dict[str, Any], words: list[str]):
    with pytest.raises(BindingError) as raised:
        await ask(*tables, **more)
    for word in words:
        assert word in f"{raised.value.message} {raised.value.hint}"
