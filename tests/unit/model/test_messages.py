import pytest

from pgcast.model.messages import DatabaseMessage, is_messages_table


@pytest.mark.parametrize(
    ("schema", "name", "is_it"),
    [
        ("realtime", "messages", True),
        ("realtime", "messages_2026_11_24", True),
        ("realtime", "messages_2026_11_24_old", False),
        ("realtime", "messages_archive", False),
        ("public", "messages", False),
    ],
)
def test_the_table_and_its_partitions_are_known_by_name(schema: str, name: str, *, is_it: bool):
    assert is_messages_table(schema, name) is is_it


def test_the_size_is_that_of_the_payload():
    assert DatabaseMessage("t", True, "e", b"[1]", None, None).size_bytes == 3
    assert DatabaseMessage("t", True, "e", None, b"\0\1", None).size_bytes == 2
