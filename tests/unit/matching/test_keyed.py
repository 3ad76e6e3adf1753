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
        ((HIGH, LOW), Access("id", (LOW, HIGH), is_exact=False)),
        ((HIGH,), Access("id", (HIGH,), is_exact=True)),
        ((HIGH, Condition("x", "gt", ("1",))), Access("id", (HIGH,), is_exact=False)),
        ((replace(EQ, is_negated=True),), None),
        ((replace(EQ, path=("a",)),), None),
        ((Condition("title", "like", ("%ab",)),), None),
        ((Condition("id", "neq", ("1",)),), None),
        ((Junction(is_any=True, parts=(EQ,)),), None),
        ((), None),
    ],
)
def test_a_filter_is_looked_up_by_what_excludes_most(parts: tuple[Condition, ...], access: Access | None):
    assert access_of(parts) == access


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
