import pytest

from pgcast.cli.explain.asked import read_asked
from pgcast.model.change import Kind
from pgcast.model.errors import SettingsError
from pgcast.model.lsn import Lsn
from pgcast.model.position import Position

TODOS = '{"schema":"public","table":"todos"}'


def test_a_binding_and_a_row():
    asked = read_asked(TODOS, row='{"id": 1}', role="reader")
    assert asked.binding is not None
    assert (asked.binding.schema, asked.binding.table, asked.place) == ("public", "todos", ("public", "todos"))
    assert asked.new is not None
    assert (asked.new.text, asked.new.columns, asked.old) == (b'{"id": 1}', {"id"}, None)
    assert (asked.kind, asked.role, asked.wanted) == (Kind.INSERT, "reader", None)


@pytest.mark.parametrize("topic", ["public:todos:id=eq.5", "realtime:public:todos:id=eq.5"])
def test_a_topic(topic: str):
    asked = read_asked(topic, old='{"id": 1}')
    assert (asked.binding, asked.topic, asked.place, asked.kind) == (None, "public:todos:id=eq.5", None, Kind.DELETE)


def test_the_rows_tell_what_happened():
    assert read_asked(TODOS, row="{}", old="{}").kind is Kind.UPDATE
    assert read_asked(TODOS, old="{}").kind is Kind.DELETE
    assert read_asked(TODOS, row="{}", event=Kind.UPDATE).kind is Kind.UPDATE


def test_a_table_may_be_another_one_than_the_binding_s():
    assert read_asked('{"schema":"*"}', row="{}", table="notes").place == ("public", "notes")
    assert read_asked(TODOS, row="{}", table="other.notes").place == ("other", "notes")


def test_a_position_or_a_time():
    wanted = read_asked(TODOS, position="5f0c2a9e-000000000a3b4c58-0000002a").wanted
    assert wanted is not None
    assert wanted.position == Position("5f0c2a9e", Lsn(0xA3B4C58), 42)
    wanted = read_asked(TODOS, position="1970-01-01T00:00:01.234Z").wanted
    assert wanted is not None
    assert (wanted.position, wanted.committed_ms) == (None, 1234)


def test_a_binding_that_is_refused_at_once_keeps_the_reason():
    asked = read_asked("{}", row="{}")
    assert asked.binding is None
    assert asked.refusal is not None
    assert asked.refusal.startswith("No subscription params provided.")
    assert read_asked("{}", row="{}", table="todos").place == ("public", "todos")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"binding": ""}, "BINDING: neither"),
        ({"binding": "[1]"}, "BINDING: neither"),
        ({"binding": '"todos"'}, "BINDING: neither"),
        ({"binding": "{nope"}, "BINDING: expected a JSON object"),
        ({"row": "[1]"}, "--row: expected a JSON object"),
        ({"row": '{"id": 1'}, "--row: expected a JSON object"),
        ({"row": '{"id": nope}'}, "--row: expected a JSON object"),
        ({"row": "{}", "old": "3"}, "--old: expected a JSON object"),
        ({}, "a new row is missing"),
        ({"event": Kind.UPDATE, "old": "{}"}, "a new row is missing"),
        ({"event": Kind.DELETE}, "a DELETE has an old row alone"),
        ({"event": Kind.DELETE, "row": "{}"}, "a DELETE has an old row alone"),
        ({"event": Kind.INSERT, "row": "{}", "old": "{}"}, "an INSERT has no old row"),
        ({"row": "{}", "table": "a.b.c"}, "--table: expected schema.table"),
        ({"row": "{}", "table": "public.*"}, "--table: expected one table"),
        ({"row": "{}", "binding": '{"schema":"public"}'}, "more than one table"),
        ({"position": "nope"}, "--position: 'nope' is neither"),
        ({"position": "2026-01-02T03:04:05Z", "row": "{}"}, "--position: the change is found in the WAL"),
        ({"position": "2026-01-02T03:04:05Z", "table": "t"}, "--position: the change is found in the WAL"),
    ],
)
def test_what_cannot_be_meant_is_said(arguments: dict[str, object], message: str):
    with pytest.raises(SettingsError) as caught:
        read_asked(**{"binding": TODOS, **arguments})  # type: ignore[arg-type]
    assert message in caught.value.message
    assert caught.value.hint
