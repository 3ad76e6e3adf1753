from __future__ import annotations

import json
from typing import Any

from pgcast.cli.tail.lines import line_of


def line(kind: str, *, record: Any = None, old: Any = None, table: str = "todos", is_colored: bool = False) -> str:
    data = {"schema": "public", "table": table, "type": kind, "commit_timestamp": "2026-01-02T03:04:05.678Z"}
    if record is not None:
        data["record"] = record
    if old is not None:
        data["old_record"] = old
    data["errors"] = None
    return line_of(json.dumps(data, ensure_ascii=False).encode(), is_colored=is_colored)


def test_an_insert_shows_the_whole_row():
    assert line("INSERT", record={"id": 1, "title": "milk"}) == (
        '03:04:05.678Z  INSERT  public.todos  id=1 title="milk"'
    )


def test_an_update_shows_the_key_and_what_has_changed():
    old = {"id": 1, "title": "milk", "done": False, "due": None}
    new = {"id": 1, "title": "milk", "done": True, "due": "2026-01-03"}
    assert line("UPDATE", record=new, old=old).endswith('todos  id=1 done: false -> true due: null -> "2026-01-03"')


def test_an_update_of_which_only_the_key_is_known_shows_the_new_row():
    assert line("UPDATE", record={"id": 1, "title": "tea"}, old={"id": 1}).endswith('todos  id=1 title="tea"')


def test_a_key_that_changes_is_shown_with_both_values():
    assert line("UPDATE", record={"id": 2, "title": "tea"}, old={"id": 1}).endswith('todos  id: 1 -> 2 title="tea"')


def test_a_delete_shows_what_is_known_of_the_row():
    assert line("DELETE", old={"id": 1}).endswith("DELETE  public.todos  id=1")


def test_numbers_keep_their_digits():
    data = b'{"schema":"s","table":"t","type":"INSERT","commit_timestamp":"T1","record":{"n":12345678901234567890.50}}'
    assert line_of(data, is_colored=False).endswith("n=12345678901234567890.50")


def test_long_values_are_shortened():
    shown = line("INSERT", record={"id": 1, "title": "x" * 1000})
    assert shown.endswith("x…")
    assert len(shown) < 120


def test_no_value_name_or_table_reaches_the_terminal_as_a_control_character():
    for evil in ("\x1b[2J", "\x9b2J", "\r", "\n", "\x7f", "\u202e"):
        shown = line("UPDATE", record={"id": 1, f"a{evil}": f"b{evil}"}, old={"id": 1, f"a{evil}": 0}, table=evil)
        assert evil not in shown
        assert shown.isprintable()


def test_colours_stand_around_what_is_the_same_without_them():
    record = {"id": 1}
    colored = line("INSERT", record=record, is_colored=True)
    for code in ("\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[32m"):
        assert code in colored
        colored = colored.replace(code, "")
    assert colored == line("INSERT", record=record)
