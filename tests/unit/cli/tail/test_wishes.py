from __future__ import annotations

import pytest

from pgcast.cli.tail.wishes import Event, bindings_of, table_of
from pgcast.model.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("public.todos", {"schema": "public", "table": "todos"}),
        ("todos", {"schema": "public", "table": "todos"}),
        ("app.*", {"schema": "app"}),
        ('"my.schema"."a ""b"""', {"schema": "my.schema", "table": 'a "b"'}),
        ("Shop.Größe", {"schema": "Shop", "table": "Größe"}),
    ],
)
def test_a_table_is_read(text: str, place: dict[str, str]):
    assert table_of(text) == place


@pytest.mark.parametrize("text", ["", ".", "a.", ".b", "a.b.c", '"a', 'a"b'])
def test_what_is_no_table_is_said(text: str):
    with pytest.raises(SettingsError, match=r"expected schema\.table"):
        table_of(text)


def test_without_wishes_everything_is_wanted():
    assert bindings_of([], []) == [{"event": "*", "schema": "*"}]


def test_each_event_of_each_table_is_a_binding():
    assert bindings_of(["a", "b"], [Event.INSERT, Event.DELETE]) == [
        {"event": event, "schema": "public", "table": table} for table in ("a", "b") for event in ("INSERT", "DELETE")
    ]
