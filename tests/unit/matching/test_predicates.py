from dataclasses import replace

import pytest
from making import INT8, NUMERIC, TEXT, array, domain

from pgcast.matching.predicates import equality_key, has_equality, local_canonical_text, order_key
from pgcast.model.relation import Collation, TypeKind, TypeShape

FLOAT8 = TypeShape(701, "float8")
BPCHAR = TypeShape(1042, "bpchar")
INTERVAL = TypeShape(1186, "interval")
UUID = TypeShape(2950, "uuid")


def are_equal(shape: TypeShape, one: bytes, other: bytes) -> bool:
    key_of = equality_key(shape)
    assert key_of is not None
    return bool(key_of(one) == key_of(other))


@pytest.mark.parametrize(
    ("shape", "one", "other", "equal"),
    [
        (INT8, b"1", b"1", True),
        (TEXT, b"a", b"A", False),
        (NUMERIC, b"1.0", b"1.00", True),
        (NUMERIC, b"1.0", b"1.01", False),
        (NUMERIC, b"NaN", b"NaN", True),
        (NUMERIC, b"Infinity", b"-Infinity", False),
        (domain(NUMERIC), b"1.0", b"1.00", True),
        (FLOAT8, b"0", b"-0", True),
        (FLOAT8, b"NaN", b"NaN", True),
        (FLOAT8, b"1e+20", b"100000000000000000000", True),
        (BPCHAR, b"a  ", b"a", True),
        (BPCHAR, b" a", b"a", False),
        (INTERVAL, b"1 day", b"24:00:00", True),
        (INTERVAL, b"1 mon", b"30 days", True),
        (INTERVAL, b"1 year 2 mons -3 days +04:05:06.5", b"1 year 2 mons -3 days +04:05:06.500000", True),
        (INTERVAL, b"-00:00:01", b"00:00:01", False),
        (INTERVAL, b"1 day", b"2 days", False),
        (INTERVAL, b"infinity", b"infinity", True),
    ],
)
def test_values_are_equal_as_their_type_says(shape: TypeShape, one: bytes, other: bytes, equal: bool):  # noqa: FBT001
    assert are_equal(shape, one, other) is equal


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (INT8, "5"),
        (INT8, "0"),
        (INT8, "-9223372036854775808"),
        (TEXT, "any ü"),
        (UUID, "6f1c0b2e-54a1-4a51-9c39-0e6f0c8f9a11"),
    ],
)
def test_what_postgres_would_print_unchanged_needs_no_question(shape: TypeShape, text: str):
    assert local_canonical_text(shape, text) == text.encode()


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        (INT8, ""),
        (INT8, "-"),
        (INT8, "05"),
        (INT8, "+5"),
        (INT8, "-0"),
        (INT8, "9223372036854775808"),
        (INT8, "1" * 40),
        (INT8, "٣"),
        (TypeShape(21, "int2"), "32768"),
        (TEXT, "a\0b"),
        (UUID, "6F1C0B2E-54A1-4A51-9C39-0E6F0C8F9A11"),
        (UUID, "x"),
        (NUMERIC, "1.0"),
        (domain(INT8), "5"),
        (array(INT8), "{1}"),
    ],
)
def test_everything_else_is_asked_of_postgres(shape: TypeShape, text: str):
    assert local_canonical_text(shape, text) is None


def test_types_without_equality_are_known():
    json = TypeShape(114, "json")
    composite = TypeShape(1, "pair", TypeKind.COMPOSITE, fields=(("a", INT8), ("b", json)))
    assert has_equality(INT8)
    assert has_equality(array(INT8))
    assert not has_equality(json)
    assert not has_equality(array(json))
    assert not has_equality(domain(json))
    assert not has_equality(composite)


@pytest.mark.parametrize("shape", [NUMERIC, FLOAT8, INTERVAL])
def test_what_is_no_value_of_the_type_has_no_key(shape: TypeShape):
    key_of = order_key(shape)
    assert key_of is not None
    with pytest.raises(ValueError, match=r"not a number|could not convert|not an interval"):
        key_of(b"1 century")


def collated(shape: TypeShape, *, is_bytewise: bool = True, is_deterministic: bool = True) -> TypeShape:
    return replace(shape, collation=Collation("c", is_bytewise, is_deterministic, folds_ascii=is_bytewise))


@pytest.mark.parametrize(
    "shape",
    [
        TEXT,
        collated(TEXT, is_bytewise=False),
        array(TEXT),
        TypeShape(114, "json"),
        TypeShape(3802, "jsonb"),
        TypeShape(90_000, "citext"),
        TypeShape(90_000, "mood", is_enum=True),
        TypeShape(90_000, "pair", TypeKind.COMPOSITE, fields=(("a", INT8),)),
        TypeShape(603, "box"),
        array(TypeShape(603, "box", delimiter=";")),
    ],
)
def test_only_postgres_knows_the_order_of_some_types(shape: TypeShape):
    assert order_key(shape) is None
    assert order_key(domain(shape)) is None


@pytest.mark.parametrize(
    "shape",
    [
        collated(TEXT, is_deterministic=False),
        collated(array(TEXT), is_deterministic=False),
        TypeShape(90_000, "citext"),
        TypeShape(90_000, "pair", TypeKind.COMPOSITE, fields=(("a", INT8),)),
        TypeShape(603, "box"),
    ],
)
def test_only_postgres_knows_when_some_types_are_equal(shape: TypeShape):
    assert equality_key(shape) is None


def test_bytewise_text_is_ordered_by_its_bytes():
    for shape in (collated(TEXT), collated(BPCHAR), collated(array(TEXT)), collated(domain(TEXT))):
        assert order_key(shape) is not None
