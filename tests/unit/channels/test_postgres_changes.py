import json

import msgspec
import pytest

from pgcast.channels.postgres_changes import MAX_ID, read_entries
from pgcast.model.binding import Binding
from pgcast.model.change import Kind


def read(*texts):
    return read_entries([msgspec.Raw(text.encode()) for text in texts])


def binding_of(**members):
    result = read(json.dumps(members))
    assert result.error is None
    (binding,) = result.bindings
    return binding


def error_of(**members):
    result = read(json.dumps(members))
    assert result.bindings == ()
    return result.error


def ids_of(result):
    return [json.loads(element)["id"] for element in result.echo]


def test_the_echo_is_the_object_as_sent_plus_an_id():
    result = read('{"event": "*", "schema":"public","table":"todos","filter":"id=eq.1","x":{"b": 1.0,"a":null}}')

    (number,) = ids_of(result)
    assert result.echo == (
        b'{"event":"*","schema":"public","table":"todos","filter":"id=eq.1","x":{"b": 1.0,"a":null},"id":%d}' % number,
    )


def test_the_echo_keeps_nulls_and_adds_no_defaults():
    assert (
        read('{"table":null,"schema":"s","filter":""}')
        .echo[0]
        .startswith(b'{"table":null,"schema":"s","filter":"","id":')
    )


def test_an_id_that_the_client_sent_gives_way_to_ours():
    (element,) = read('{"id":"mine","schema":"public"}').echo

    assert json.loads(element) == {"schema": "public", "id": ids_of(read('{"schema":"public"}'))[0]}


def test_there_is_one_element_for_each_entry_in_the_order_sent():
    result = read('{"table":"b"}', '{"table":"a"}', '{"table":"b"}')

    assert [json.loads(element)["table"] for element in result.echo] == ["b", "a", "b"]


def test_equal_entries_are_one_binding_with_one_id():
    result = read('{"schema":"public","table":"a"}', '{"table":"b"}', '{"event":"*","table":"a","filter":" "}')

    first, second, third = ids_of(result)
    assert first == third != second
    assert [(binding.id, binding.table) for binding in result.bindings] == [(first, "a"), (second, "b")]


def test_ids_are_the_same_at_each_join_also_with_another_since():
    ids = [
        binding_of(event="INSERT", schema="public", table="todos", filter="id=eq.1", since=since).id
        for since in (None, "2026-01-02T03:04:05.678Z")
    ]

    assert ids[0] == ids[1]
    assert 1 <= ids[0] <= MAX_ID


def test_entries_that_differ_in_since_alone_have_ids_of_their_own():
    result = read('{"table":"a"}', '{"table":"a","since":"x"}', '{"table":"a","since":"y"}')

    first = ids_of(result)[0]
    assert ids_of(result) == [first, first % MAX_ID + 1, (first + 1) % MAX_ID + 1]
    assert [binding.since for binding in result.bindings] == [None, "x", "y"]


def test_entries_that_share_a_hash_have_ids_of_their_own():
    # Found by trying names: alone, each of these two has the same id.
    assert binding_of(table="qdtdvb").id == binding_of(table="klfjri").id

    first, second = ids_of(read('{"table":"qdtdvb"}', '{"table":"klfjri"}'))
    assert second == first + 1


def test_the_next_id_after_the_largest_is_the_smallest():
    # Made for its hash: CRC-32 is linear, so a name for any value can be solved for.
    entry = '{"table":"accccaaaaacaaccaaaccccacaacacaaaaaaa","since":"%s"}'

    assert ids_of(read(entry % "x", entry % "y")) == [MAX_ID, 1]


@pytest.mark.parametrize(
    ("sent", "event"),
    [
        ("INSERT", Kind.INSERT),
        ("update", Kind.UPDATE),
        ("Delete", Kind.DELETE),
        ("*", None),
        ("TRUNCATE", None),
        ("other", None),
        (None, None),
        (5, None),
        ("", None),
    ],
)
def test_an_event_is_read_in_any_case_and_an_unknown_one_means_all(sent, event):
    assert binding_of(event=sent, table="t").event is event
    assert binding_of(table="t").event is None


def test_a_table_without_schema_is_in_public():
    assert binding_of(table="todos") == Binding(binding_of(table="todos").id, None, "public", "todos")
    assert binding_of(schema=None, table="todos", filter="id=eq.1").schema == "public"


@pytest.mark.parametrize(
    ("members", "schema", "table"),
    [
        ({"schema": "*"}, None, None),
        ({"schema": "*", "table": "*"}, None, None),
        ({"schema": "*", "table": "todos"}, None, "todos"),
        ({"schema": "public"}, "public", None),
        ({"schema": "public", "table": None}, "public", None),
        ({"schema": "public", "table": "*"}, "public", None),
        ({"table": "*"}, "public", None),
        ({"schema": "a_b", "table": "c%"}, "a_b", "c%"),
    ],
)
def test_a_star_or_an_absent_name_means_all_and_nothing_else_is_special(members, schema, table):
    binding = binding_of(**members)

    assert (binding.schema, binding.table) == (schema, table)


@pytest.mark.parametrize("sent", [None, "", "  "])
def test_a_filter_or_since_that_is_null_or_blank_is_none(sent):
    binding = binding_of(table="t", filter=sent, since=sent)

    assert (binding.filter, binding.since) == (None, None)


def test_a_filter_and_since_are_kept_as_text():
    binding = binding_of(table="t", filter=" nonsense ", since="yesterday")

    assert (binding.filter, binding.since) == (" nonsense ", "yesterday")


def test_a_value_of_the_wrong_type_is_kept_as_its_json_so_that_it_never_means_all():
    binding = binding_of(schema=5, table=["a"], filter={"id": 1}, since=17)

    assert (binding.schema, binding.table, binding.filter, binding.since) == ("5", '["a"]', '{"id": 1}', "17")


@pytest.mark.parametrize(
    ("sent", "select"),
    [(None, ()), ([], ()), (["id", "title"], ("id", "title")), ([5, "a", None], ("a",)), ([5], ())],
)
def test_select_is_a_list_of_names_in_which_anything_else_is_ignored(sent, select):
    assert binding_of(table="t", select=sent).select == select


def test_entries_that_are_no_objects_are_dropped():
    result = read("5", '{"table":"a"}', "[]", '"x"')

    assert len(result.echo) == len(result.bindings) == 1


def test_no_entries_are_no_bindings():
    assert read() == read_entries(())
    assert read().echo == ()


def test_an_entry_without_schema_and_table_is_an_error_that_shows_it():
    assert error_of(event="INSERT", table=None) == (
        "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: "
        '{"event":"INSERT","table":null}'
    )


def test_a_long_entry_is_shown_in_part():
    error = error_of(filter="x" * 1000)

    assert error.endswith('{"filter":"' + "x" * 189 + "...")


@pytest.mark.parametrize("select", ["id", {"a": 1}, 5, True])
def test_a_select_that_is_no_list_is_an_error(select):
    assert error_of(schema="public", table="t", select=select) == (
        'Error parsing `select` params: expected a list of column name strings, e.g. select: ["col1", "col2"]'
    )


@pytest.mark.parametrize(
    "names", [{"schema": "*"}, {"schema": "public"}, {"schema": "*", "table": "t"}, {"table": "*"}]
)
def test_a_select_with_a_wildcard_is_an_error(names):
    assert error_of(**names, select=["id"]) == (
        "Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name."
    )


def test_one_bad_entry_fails_all_and_the_first_one_is_named():
    result = read('{"table":"a"}', '{"table":"a","select":"id"}', "{}")

    assert result.bindings == ()
    assert result.error.startswith("Error parsing `select` params: expected a list")
    assert result.error.endswith("(entry 2 of 3)")
    assert len(result.echo) == 3


def test_leave_is_true_or_absent():
    assert binding_of(table="t", leave=True).leave
    for other in (False, None, "yes", 1):
        assert not binding_of(table="t", leave=other).leave


def test_leave_makes_another_binding():
    plain, leaving = read('{"table":"a","filter":"b=eq.1"}', '{"table":"a","filter":"b=eq.1","leave":true}').bindings
    assert plain.id != leaving.id
