"""Names that need quotes, of every alphabet, and as long as Postgres allows."""

from __future__ import annotations

import pytest

from fix_place import Place

ODD = [
    "select", "Mixed Case", 'a"b', "a.b", "a,b", "a:b", "a%sb%", "größe €", "🐘" * 15, "x" * 63, "naïve\u0301", "a\\b",
    "{}", "line\nbreak",
]  # fmt: skip


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize("name", ODD)
async def test_a_name_comes_as_it_was_given(place: Place, name: str):
    assert len(name.encode()) <= 63
    place.execute(f"""
        create schema {quoted(name)};
        create type {place.schema}.{quoted(name)} as enum ('x', 'y');
        create table {quoted(name)}.{quoted(name)} ({quoted(name)} {place.schema}.{quoted(name)} primary key)
    """)
    try:
        # A filter ends at a comma, so the column's name may have none.
        rows = {} if "," in name else {"filter": f"{name}=eq.x"}
        async with place.followed(schema=name, table=name, **rows) as client:
            place.execute(f"insert into {quoted(name)}.{quoted(name)} values ('x')")
            (change,) = await client.changes(1)
    finally:
        place.execute(f"drop schema {quoted(name)} cascade")
    assert (change["schema"], change["table"], change["record"]) == (name, name, {name: "x"})
    assert change["columns"] == [{"name": name, "type": name}]
