from dataclasses import replace

import pytest
from making import INT8, NUMERIC, TEXT

from pgcast.matching.conditions import Condition, Junction
from pgcast.matching.keyed import Access, Keyed, access_of
from pgcast.model.relation import Collation

EQ = Condition("id", "eq", ("1",))
IN = Condition("id", "in", ("1", "1", "2", None))
LIKE = Condition("title", "like", ("ab%",))
LOW, HIGH = Condition("id", "gte", ("1",)), Condition("id", "lt", ("5",))


@pytest.mark.parametrize(
    ("parts", "access"),
    [
        ((EQ,), Access("id", (EQ,), is_exact=True)),
        ((IN, EQ), Access("id", (EQ,), is_exact=False)),
        ((IN, LIKE), Access("id", (IN,), is_exact=False)),
        ((LIKE,), Access("title", (LIKE,), is_exact=False)),
        ((HIGH, LOW), Access("id", (LOW, HIGH), is_exact=True)),
        ((HIGH, LOW, LIKE), Access("title", (LIKE,), is_exact=False)),
        ((HIGH, LOW, Condition("x", "gt", ("1",))), Access("id", (LOW, HIGH), is_exact=False)),
        ((EQ, Condition("x", "eq", ("1",))), Access("id", (EQ,), is_exact=False)),
        ((HIGH,), Access("id", (HIGH,), is_exact=True)),
        ((HIGH, Condition("x", "gt", ("1",))), Access("id", (HIGH,), is_exact=False)),
        ((replace(EQ, is_negated=True),), None),
        ((replace(EQ, path=("a",)),), None),
        ((Condition("title", "like", ("%ab",)),), None),
        ((Condition("id", "neq", ("1",)),), None),
        ((Junction(is_any=True, parts=(EQ,)),), Access("id", (EQ,), is_exact=True)),
        ((Junction(is_any=True, parts=(EQ, IN)),), None),
        ((Junction(is_any=False, parts=(EQ,), is_negated=True),), None),
        (
            (Junction(is_any=False, parts=(HIGH, Junction(is_any=False, parts=(LOW,)))),),
            Access("id", (LOW, HIGH), is_exact=True),
        ),
        ((Junction(is_any=False, parts=(LIKE, EQ)), HIGH), Access("id", (EQ,), is_exact=False)),
        ((), None),
    ],
)
def test_a_filter_is_looked_up_by_what_excludes_most(parts: tuple[Condition, ...], access: Access | None):
    assert access_of(parts) == access


def test_of_several_equalities_the_one_that_fewest_share_is_taken():
    other = Condition("title", "eq", ("a",))
    for shared, chosen in (({}, EQ), ({EQ: 1}, other), ({EQ: 1, other: 2}, EQ), ({other: 1}, EQ)):
        access = access_of((EQ, other), lambda condition, shared=shared: shared.get(condition, 0))  # type: ignore[misc]
        assert access is not None
        assert access.conditions == (chosen,)


@pytest.mark.parametrize(
    ("low", "high", "held"),
    [("gte", "lte", "123"), ("gte", "lt", "12"), ("gt", "lte", "23"), ("gt", "lt", "2")],
)
def test_the_ends_of_an_interval_count_as_they_are_meant(low: str, high: str, held: str):
    bounds = Condition("id", low, ("1",)), Condition("id", high, ("3",))
    assert "".join(value for value in "01234" if found(bounds, value.encode())) == held
    assert not found((Condition("id", low, ("3",)), Condition("id", high, ("1",))), b"2")


def found(parts: tuple[Condition, ...], value: bytes, *, shape: object = INT8) -> bool:
    keyed: Keyed[str] = Keyed(shape)  # type: ignore[arg-type]
    access = access_of(parts)
    assert access is not None
    keyed.add("one", access)
    is_found = [*keyed.find(value), *keyed.unkeyed] == ["one"]
    keyed.remove("one", access)
    assert not keyed.find(value)
    assert not keyed.unkeyed
    return is_found


def test_each_lookup_finds_what_may_hold():
    assert found((EQ,), b"1")
    assert not found((EQ,), b"2")
    assert found((IN,), b"1")
    assert not found((IN,), b"3")
    assert found((LOW, HIGH), b"3")
    assert not found((LOW, HIGH), b"10")
    assert found((LOW,), b"10")
    assert not found((LOW,), b"0")
    assert found((LIKE,), b"abc", shape=TEXT)
    assert not found((LIKE,), b"bc", shape=TEXT)


def test_keys_follow_the_type():
    assert found((Condition("price", "eq", ("1.0",)),), b"1.00", shape=NUMERIC)
    assert not found((Condition("price", "eq", ("1.0",)),), b"1.00", shape=TEXT)


def test_what_has_no_key_in_this_type_is_always_found():
    assert found((Condition("id", "eq", ("x",)),), b"1", shape=NUMERIC)
    assert found((LOW,), b"0", shape=TEXT)
    blind = replace(TEXT, collation=Collation("c", is_bytewise=False, is_deterministic=False, folds_ascii=False))
    assert found((LIKE,), b"x", shape=blind)


def test_a_value_that_is_none_of_the_type_finds_nothing():
    assert not found((LOW,), b"x")
