import pytest

from pgcast.matching.filters import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_FILTER_CHARS,
    MAX_IN_ITEMS,
    OPERATORS,
    FilterGroup,
    FilterTerm,
    NoSuchTruth,
    TooManyItems,
    parse_filter,
)
from pgcast.model.errors import BindingError


def term(column: str, value: str) -> FilterTerm:
    return FilterTerm(column, "eq", (value,))


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


@pytest.mark.parametrize("operator", [one for one in OPERATORS if one not in {"in", "is"}])
def test_every_operator_is_known_with_and_without_not(operator: str):
    assert parse_filter(f"a={operator}.x") == (FilterTerm("a", operator, ("x",)),)
    assert parse_filter(f"a=not.{operator}.x") == (FilterTerm("a", operator, ("x",), is_negated=True),)


@pytest.mark.parametrize(
    ("text", "operands"),
    [
        ("a=in.(1,2)", ("1", "2")),
        ("a=in.( 1 , 2 )", ("1", "2")),
        ('a=in.(open,"on hold")', ("open", "on hold")),
        ('a=in.("a,b","c)")', ("a,b", "c)")),
        ("a=in.(1,null)", ("1", None)),
        ('a=in.("null")', ("null",)),
        ('a=in.("")', ("",)),
        ("a=in.()", ()),
        ("a=is.null", ("null",)),
        ("a=is.TRUE", ("true",)),
        ("a=isdistinct.null", (None,)),
        ('a=isdistinct."null"', ("null",)),
        ("a=eq.null", ("null",)),
    ],
)
def test_operands_are_taken_apart(text: str, operands: tuple[str | None, ...]):
    (one,) = parse_filter(text)
    assert isinstance(one, FilterTerm)
    assert one.operands == operands


def test_groups_are_taken_apart():
    assert parse_filter('or=(a.eq.1,and(b.not.lt.2,"c.d".in.(1,2)),not.or(e.is.null)),f=eq.3') == (
        FilterGroup(
            True,
            (
                FilterTerm("a", "eq", ("1",)),
                FilterGroup(False, (FilterTerm("b", "lt", ("2",), True), FilterTerm("c.d", "in", ("1", "2")))),
                FilterGroup(True, (FilterTerm("e", "is", ("null",)),), True),
            ),
        ),
        FilterTerm("f", "eq", ("3",)),
    )
    assert parse_filter("not.and=(a.eq.1)") == (FilterGroup(False, (FilterTerm("a", "eq", ("1",)),), True),)


def test_a_column_may_be_called_like_a_group():
    assert parse_filter("or=eq.1") == (FilterTerm("or", "eq", ("1",)),)


@pytest.mark.parametrize("text", ["or=()", "or=(a.eq.1,)", "or=(,)"])
def test_an_empty_part_is_refused(text: str):
    with pytest.raises(BindingError, match="empty segments"):
        parse_filter(text)


@pytest.mark.parametrize("text", ["or=(a)", "or=(.eq.1)", 'or=("a"eq.1)', "or=(a.eq)"])
def test_what_is_no_part_is_refused(text: str):
    with pytest.raises(BindingError, match=r"is not column\.operator\.value"):
        parse_filter(text)


@pytest.mark.parametrize("text", ["id", "id=eq", "=eq.1", "id.eq=1", "id=not.eq"])
def test_what_is_no_condition_is_refused(text: str):
    with pytest.raises(BindingError, match=r"is not column=operator\.value"):
        parse_filter(text)


@pytest.mark.parametrize("text", ["title=EQ.a", "title=eqs.a", "title=not.not.eq.a"])
def test_an_unknown_operator_is_named(text: str):
    with pytest.raises(BindingError, match=r"unknown operator '(EQ|eqs|not)'; there are: eq, neq, lt"):
        parse_filter(text)


@pytest.mark.parametrize("text", ["a=in.1", "a=in.(1", "a=in.1)"])
def test_in_needs_parentheses(text: str):
    with pytest.raises(BindingError, match="`in` filter value must be wrapped by parentheses"):
        parse_filter(text)


def test_an_empty_item_is_refused():
    with pytest.raises(BindingError, match="`in` has an empty item"):
        parse_filter("a=in.(1,,2)")


def test_in_takes_a_hundred_items():
    items = ",".join(map(str, range(MAX_IN_ITEMS)))
    parse_filter(f"a=in.({items})")
    with pytest.raises(TooManyItems, match=r"too many values for `in` filter\. Maximum 100"):
        parse_filter(f"a=in.({items},x)")


def test_is_takes_four_words():
    with pytest.raises(NoSuchTruth, match="invalid value for is filter: must be null, true, false, or unknown"):
        parse_filter("a=is.maybe")


def test_an_open_quote_is_refused():
    with pytest.raises(BindingError, match="a double quote is not closed"):
        parse_filter('name=eq."a,b')


def test_a_filter_has_a_greatest_length_width_and_depth():
    with pytest.raises(BindingError, match="longer than"):
        parse_filter("a=eq." + "b" * MAX_FILTER_CHARS)
    with pytest.raises(BindingError, match="more than 200 conditions"):
        parse_filter(",".join(["a=eq.1"] * (MAX_CONDITIONS + 1)))
    parse_filter("or=(" + "or(" * (MAX_DEPTH - 1) + "a.eq.1" + ")" * MAX_DEPTH)
    with pytest.raises(BindingError, match="more than 20 groups"):
        parse_filter("or=(" + "or(" * MAX_DEPTH + "a.eq.1" + ")" * (MAX_DEPTH + 1))
