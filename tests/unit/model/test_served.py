from pgcast.model.change import Kind
from pgcast.model.served import ServedTopic, ServedTopics

ALL = frozenset(Kind)
INSERT = frozenset({Kind.INSERT})


def served(*items: ServedTopic) -> ServedTopics:
    return ServedTopics(items)


def test_without_a_list_everything_is_served():
    assert ServedTopics().kinds(None) == ServedTopics().kinds("public", "todos", "id") == ALL


def test_an_empty_list_serves_nothing():
    assert served().kinds(None) == served().kinds("public") == frozenset()


def test_the_number_of_parts_says_which_topics_an_item_is_about():
    schemas = served(ServedTopic((None,), ALL))
    assert schemas.kinds(None) == schemas.kinds("public") == ALL
    assert not schemas.kinds("public", "todos")
    tables = served(ServedTopic((None, "todos"), ALL))
    assert tables.kinds("public", "todos") == ALL
    assert not tables.kinds("public", "notes")
    assert not tables.kinds("public", "todos", "id")
    columns = served(ServedTopic(("public", None, "id"), ALL))
    assert columns.kinds("public", "todos", "id") == ALL
    assert not columns.kinds("private", "todos", "id")


def test_the_topic_of_everything_needs_the_item_of_everything():
    assert not served(ServedTopic(("public",), ALL)).kinds(None)


def test_items_add_up():
    both = served(ServedTopic(("public",), INSERT), ServedTopic((None,), frozenset({Kind.DELETE})))
    assert both.kinds("public") == {Kind.INSERT, Kind.DELETE}
    assert both.kinds("private") == {Kind.DELETE}
