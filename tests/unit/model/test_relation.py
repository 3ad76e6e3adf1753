from making import table


def test_a_table_is_named_as_its_relation_was_announced():
    one = table("todos", in_schema="app")
    assert (one.schema, one.name) == ("app", "todos")


def test_a_new_announcement_is_another_table_even_if_nothing_changed():
    one, other = table(), table()
    assert one.relation == other.relation
    assert one != other
    assert len({one, other}) == 2
