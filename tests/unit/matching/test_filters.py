import pytest

from pgcast.matching.filters import MAX_FILTER_CHARS, FilterTerm, parse_filter
from pgcast.model.errors import BindingError


def term(column: str, value: str) -> FilterTerm:
    return FilterTerm(column, "eq", value)


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("id=eq.5", [term("id", "5")]),
        ("id=eq.5,done=eq.true", [term("id", "5"), term("done", "true")]),
        (" id=eq.5 , done=eq.true ", [term("id", "5"), term("done", "true")]),
        ("url=eq.http://a.b/c?d=eq.1", [term("url", "http://a.b/c?d=eq.1")]),
        ('name=eq."a,b"', [term("name", "a,b")]),
        (r'name=eq."say \"hi\" \\ there"', [term("name", r'say "hi" \ there')]),
        ("name=eq.", [term("name", "")]),
        ('name=eq.""', [term("name", "")]),
        ('name=eq.5" tape', [term("name", '5" tape')]),
        ("point=eq.(1,2)", [term("point", "(1,2)")]),
        ("a=eq.1),b=eq.2", [term("a", "1)"), term("b", "2")]),
        ('pair=eq.("a,)b",2)', [term("pair", '("a,)b",2)')]),
        ('name=eq."a"b', [term("name", '"a"b')]),
    ],
)
def test_a_filter_is_taken_apart(text: str, terms: list[FilterTerm]):
    assert parse_filter(text) == tuple(terms)


@pytest.mark.parametrize("text", [",id=eq.1", "id=eq.1,", "id=eq.1,,done=eq.true", " , "])
def test_an_empty_segment_is_refused(text: str):
    with pytest.raises(BindingError, match=r"filter must not contain empty segments \(check for extra commas\)"):
        parse_filter(text)


@pytest.mark.parametrize("text", ["id", "id=eq", "=eq.1", "id.eq=1"])
def test_what_is_no_condition_is_refused(text: str):
    with pytest.raises(BindingError, match=r"is not column=operator\.value"):
        parse_filter(text)


def test_an_unknown_operator_is_named():
    with pytest.raises(BindingError, match="unknown operator 'like'; this server has: eq"):
        parse_filter("title=like.%a%")


def test_an_open_quote_is_refused():
    with pytest.raises(BindingError, match="a double quote is not closed"):
        parse_filter('name=eq."a,b')


def test_a_filter_has_a_greatest_length():
    with pytest.raises(BindingError, match="longer than"):
        parse_filter("a=eq." + "b" * MAX_FILTER_CHARS)
