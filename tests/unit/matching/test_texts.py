import pytest

from pgcast.matching.texts import ArrayParts, RangeParts, json_at, json_text, split_array, split_range


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b"{}", ArrayParts([], (), ())),
        (b"{1,2}", ArrayParts([b"1", b"2"], (2,), (1,))),
        (b"{1,NULL}", ArrayParts([b"1", None], (2,), (1,))),
        (b'{"NULL",""}', ArrayParts([b"NULL", b""], (2,), (1,))),
        (rb'{"a,}\"\\"}', ArrayParts([b'a,}"\\'], (1,), (1,))),
        (b"{{1,2,3},{4,5,6}}", ArrayParts([b"1", b"2", b"3", b"4", b"5", b"6"], (2, 3), (1, 1))),
        (b"[0:1]={1,2}", ArrayParts([b"1", b"2"], (2,), (0,))),
        (b"[-1:0][2:2]={{1},{2}}", ArrayParts([b"1", b"2"], (2, 1), (-1, 2))),
    ],
)
def test_an_array_is_taken_apart(text: bytes, parts: ArrayParts):
    assert split_array(text) == parts


def test_what_is_no_array_is_refused():
    with pytest.raises(ValueError, match="not an array"):
        split_array(b'{"a')


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (b"empty", None),
        (b"[1,5)", RangeParts(b"1", b"5", has_lower=True, has_upper=False)),
        (b"(,5]", RangeParts(None, b"5", has_lower=False, has_upper=True)),
        (b'["2026-01-02 03:04:05",)', RangeParts(b"2026-01-02 03:04:05", None, has_lower=True, has_upper=False)),
    ],
)
def test_a_range_is_taken_apart(text: bytes, parts: RangeParts | None):
    assert split_range(text) == parts


@pytest.mark.parametrize("text", [b"", b"1,2", b"[1,2", b"[12]"])
def test_what_is_no_range_is_refused(text: bytes):
    with pytest.raises(ValueError, match="not a range"):
        split_range(text)


@pytest.mark.parametrize(
    ("text", "path", "found"),
    [
        (b'{"a": {"b": [1, 2.50]}}', ("a", "b", 1), b"2.50"),
        (b'{"a": {"b": [1, 2]}}', ("a",), b'{"b": [1, 2]}'),
        (b"[1, 2]", (-1,), b"2"),
        (b"[1, 2]", (2,), None),
        (b"[1, 2]", ("a",), None),
        (b'{"a": 1}', ("b",), None),
        (b'{"a": 1}', (0,), None),
        (b"not json", ("a",), None),
        (b"[" * 100_000, (0,), None),
    ],
)
def test_a_path_leads_to_the_text_that_stands_there(text: bytes, path: tuple[str | int, ...], found: bytes | None):
    assert json_at(text, path, is_binary=True) == json_at(text, path, is_binary=False) == found


def test_a_scalar_of_jsonb_is_an_array_of_itself():
    assert json_at(b"7", (0,), is_binary=True) == json_at(b"7", (-1,), is_binary=True) == b"7"
    assert json_at(b"7", (1,), is_binary=True) is None
    assert json_at(b"7", (0,), is_binary=False) is None


@pytest.mark.parametrize(
    ("text", "taken"),
    [(b'"a\\"b"', b'a"b'), (b"null", None), (b"1.50", b"1.50"), (b'{"a": 1}', b'{"a": 1}'), (b'"', None)],
)
def test_a_json_value_as_text(text: bytes, taken: bytes | None):
    assert json_text(text) == taken
