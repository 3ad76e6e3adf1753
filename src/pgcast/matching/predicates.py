"""When two values of a type are equal: Postgres' text turned into a key whose equality is the type's.

For most types the text that Postgres prints is canonical: equal values print alike. The exceptions are listed here.
A filter's value is brought to the same form first: cast by Postgres, then printed.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from pgcast.model.relation import TypeKind

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from pgcast.model.relation import TypeShape


def key_function(shape: TypeShape) -> Callable[[bytes], Hashable] | None:
    """Return what turns a value's text into a key; None where the text itself is the key."""
    while shape.kind is TypeKind.DOMAIN and shape.element is not None:
        shape = shape.element
    return _KEYS.get(shape.name)


def local_canonical_text(shape: TypeShape, text: str) -> bytes | None:
    """Cast a filter's value without asking Postgres, where that is certain; else None.

    Only forms that Postgres would print unchanged: a join storm with `id=eq.<n>` need not ask the database.
    """
    if shape.kind is not TypeKind.SCALAR:
        return None
    check = _PRINTED_UNCHANGED.get(shape.name)
    return text.encode() if check is not None and check(text) else None


def _is_plain_integer(text: str, *, bits: int) -> bool:
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 19 or (digits[0] == "0" and text != "0"):
        return False
    limit = 1 << (bits - 1)
    return -limit <= int(text) < limit


def _is_plain_uuid(text: str) -> bool:
    parts = text.split("-")
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and all(set(part) <= _HEX for part in parts)


def _has_no_nul(text: str) -> bool:
    return "\0" not in text and text.isprintable()


_HEX = frozenset("0123456789abcdef")

_PRINTED_UNCHANGED: dict[str, Callable[[str], bool]] = {
    "int2": lambda text: _is_plain_integer(text, bits=16),
    "int4": lambda text: _is_plain_integer(text, bits=32),
    "int8": lambda text: _is_plain_integer(text, bits=64),
    "text": _has_no_nul,
    "varchar": _has_no_nul,
    "uuid": _is_plain_uuid,
}


def _numeric_key(text: bytes) -> Hashable:
    """1.0 and 1.00 are equal; NaN equals itself in Postgres."""
    try:
        value = Decimal(text.decode())
    except (InvalidOperation, UnicodeDecodeError):
        return text
    return "NaN" if value.is_nan() else value


def _float_key(text: bytes) -> Hashable:
    """0 and -0 are equal; NaN equals itself in Postgres."""
    try:
        value = float(text)
    except ValueError:
        return text
    return "NaN" if value != value else value  # noqa: PLR0124 - NaN is what differs from itself


def _blank_padded_key(text: bytes) -> Hashable:
    """Blanks at the end of a char(n) do not count."""
    return text.rstrip(b" ")


def _interval_key(text: bytes) -> Hashable:
    """'1 day' equals '24:00:00', '1 month' equals '30 days': Postgres compares their length.

    Source: PostgreSQL, chapter "Date/Time Types", intervalstyle `postgres`: `1 year 2 mons -3 days +04:05:06.5`.
    """
    try:
        return _interval_us(text.decode())
    except (ValueError, KeyError):
        return text


def _interval_us(text: str) -> int:
    total = 0
    words = text.split()
    if words and ":" in words[-1]:
        total += _clock_us(words.pop())
    for number, unit in zip(words[::2], words[1::2], strict=True):
        total += int(number) * _UNIT_US[unit]
    return total


def _clock_us(text: str) -> int:
    sign = -1 if text.startswith("-") else 1
    hours, minutes, seconds = text.lstrip("+-").split(":")
    whole, _, fraction = seconds.partition(".")
    in_seconds = int(hours) * 3600 + int(minutes) * 60 + int(whole)
    return sign * (in_seconds * 1_000_000 + int(fraction.ljust(6, "0")))


_DAY_US = 86_400_000_000
_UNIT_US = {
    "day": _DAY_US,
    "days": _DAY_US,
    "mon": 30 * _DAY_US,
    "mons": 30 * _DAY_US,
    "year": 360 * _DAY_US,
    "years": 360 * _DAY_US,
}

_KEYS: dict[str, Callable[[bytes], Hashable]] = {
    "numeric": _numeric_key,
    "float4": _float_key,
    "float8": _float_key,
    "bpchar": _blank_padded_key,
    "interval": _interval_key,
}

_WITHOUT_EQUALITY = frozenset({"json", "xml", "point", "polygon", "txid_snapshot", "pg_snapshot"})


def has_equality(shape: TypeShape) -> bool:
    """Say whether a type has the operator `=`: `json` and `xml` have not, nor arrays of them.

    Source: PostgreSQL, catalog `pg_operator`.
    """
    if shape.kind is TypeKind.COMPOSITE:
        return all(has_equality(field) for _, field in shape.fields)
    if shape.element is not None:
        return has_equality(shape.element)
    return shape.name not in _WITHOUT_EQUALITY
