import time

import pytest

from pgcast.matching.likes import like_prefix, like_test
from pgcast.model.errors import BindingError


@pytest.mark.parametrize(
    ("pattern", "text", "holds"),
    [
        ("", "", True),
        ("", "a", False),
        ("%", "", True),
        ("a%", "abc", True),
        ("%c", "abc", True),
        ("%c", "abcd", False),
        ("a%a", "a", False),
        ("a%a", "aa", True),
        ("%b%b%", "abab", True),
        ("%b%b%", "aba", False),
        ("_", "ü", True),
        ("__", "ü", False),
        ("a_c", "a\nc", True),
        ("%_%", "", False),
        (r"100\%", "100%", True),
        (r"100\%", "1000", False),
        (r"a\\b", r"a\b", True),
        ("a.c", "abc", False),
        ("%ab", "aab", True),
        ("ab%ab", "abab", True),
        ("ab%ab", "aab", False),
    ],
)
def test_a_pattern_holds_as_in_sql(pattern: str, text: str, holds: bool):  # noqa: FBT001
    assert like_test(pattern)(text.encode()) is holds


def test_letters_may_be_folded():
    assert like_test("aB%ü", folds_ascii=True)(b"Ab.\xc3\xbc")
    assert not like_test("aB%ü", folds_ascii=True)(b"Ab.\xc3\x9c")
    assert not like_test("aB")(b"Ab")


@pytest.mark.parametrize("pattern", ["\\", "a\\", "%\\\\\\"])
def test_a_pattern_must_not_end_with_its_escape(pattern: str):
    with pytest.raises(BindingError, match="LIKE pattern must not end with escape character"):
        like_test(pattern)


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [("abc%", b"abc"), ("%abc", b""), ("a_c", b"a"), (r"10\%%", b"10%"), ("abc", b"abc"), ("ü%", "ü".encode())],
)
def test_a_pattern_says_what_its_texts_begin_with(pattern: str, prefix: bytes):
    assert like_prefix(pattern) == prefix


def test_a_pattern_of_many_wildcards_takes_no_time():
    test = like_test("%a" * 50 + "%b")
    begin = time.process_time()
    assert not test(b"a" * 100_000)
    assert time.process_time() - begin < 1
