"""When two values of a type are equal, and which of them is less: Postgres' text turned into keys that compare alike.

For most types the text that Postgres prints is canonical: equal values print alike, and the text is the key. The
exceptions are listed here. A filter's value is brought to the same form first: cast by Postgres, then printed. What is
listed nowhere, only Postgres can decide.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from ipaddress import ip_interface
from typing import TYPE_CHECKING, Any, Final

from pgcast.matching.texts import split_array, split_range
from pgcast.model.relation import TypeKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from pgcast.model.relation import Collation, TypeShape

    # Keys of one function can be compared with each other; those for equality have a hash.
    KeyFunction = Callable[[bytes], Any]

_FIRST_OWN_OID: Final = 16384

TEXTS: Final = frozenset({"text", "varchar", "bpchar", "name"})


def equality_key(shape: TypeShape) -> KeyFunction | None:
    """Return what makes keys that are equal if the values are; None where only Postgres can say.

    Raises nothing; the function may raise ValueError for what is no text of the type.
    """
    shape, collation = resolve(shape)
    if shape.kind is TypeKind.ARRAY and shape.element is not None:
        element = equality_key(_inherit(shape.element, collation))
        return element if element in {None, same} or shape.delimiter != "," else _array_key(element)
    if shape.is_enum:
        return same
    if shape.kind is not TypeKind.SCALAR or shape.oid >= _FIRST_OWN_OID:
        return None
    if shape.name in TEXTS and collation is not None and not collation.is_deterministic:
        return None
    if shape.name in _RANGES:
        element = _ORDERS[_RANGES[shape.name]]
        return same if shape.name != "numrange" else _range_key(element)
    return _EQUALITIES.get(shape.name)


def order_key(shape: TypeShape) -> KeyFunction | None:
    """Return what makes keys that are ordered as the values are; None where only Postgres can say."""
    shape, collation = resolve(shape)
    if shape.kind is TypeKind.ARRAY and shape.element is not None:
        element = order_key(_inherit(shape.element, collation))
        return None if element is None or shape.delimiter != "," else _array_key(element)
    if shape.kind is not TypeKind.SCALAR or shape.oid >= _FIRST_OWN_OID:
        return None
    if shape.name in {"text", "varchar", "bpchar"}:
        if collation is None or not (collation.is_bytewise and collation.is_deterministic):
            return None
        return _blank_padded_key if shape.name == "bpchar" else same
    if shape.name in _RANGES:
        return _range_key(_ORDERS[_RANGES[shape.name]])
    return _ORDERS.get(shape.name)


def resolve(shape: TypeShape) -> tuple[TypeShape, Collation | None]:
    """Return what a type is under all domains, and the column's collation."""
    collation = shape.collation
    while shape.kind is TypeKind.DOMAIN and shape.element is not None:
        shape = shape.element
    return shape, collation


def local_canonical_text(shape: TypeShape, text: str) -> bytes | None:
    """Cast a filter's value without asking Postgres, where that is certain; else None.

    Only forms that Postgres would print unchanged: a join storm with `id=eq.<n>` need not ask the database.
    """
    if shape.kind is not TypeKind.SCALAR or shape.oid >= _FIRST_OWN_OID:
        return None
    check = _PRINTED_UNCHANGED.get(shape.name)
    return text.encode() if check is not None and check(text) else None


def has_equality(shape: TypeShape) -> bool:
    """Say whether a type has the operator `=`: `json` and `xml` have not, nor arrays of them.

    Source: PostgreSQL, catalog `pg_operator`.
    """
    if shape.kind is TypeKind.COMPOSITE:
        return all(has_equality(field) for _, field in shape.fields)
    if shape.element is not None:
        return has_equality(shape.element)
    return shape.name not in _WITHOUT_EQUALITY


def same(text: bytes) -> bytes:
    """Return the text: it is its own key."""
    return text


def _inherit(element: TypeShape, collation: Collation | None) -> TypeShape:
    """Return an array's element type, its text compared as the array's column says."""
    if collation is None or element.collation is not None:
        return element
    return replace(element, collation=collation)


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


_HEX: Final = frozenset("0123456789abcdef")

_PRINTED_UNCHANGED: Final[dict[str, Callable[[str], bool]]] = {
    "int2": lambda text: _is_plain_integer(text, bits=16),
    "int4": lambda text: _is_plain_integer(text, bits=32),
    "int8": lambda text: _is_plain_integer(text, bits=64),
    "text": _has_no_nul,
    "varchar": _has_no_nul,
    "uuid": _is_plain_uuid,
}

_WITHOUT_EQUALITY: Final = frozenset({"json", "xml", "point", "polygon", "txid_snapshot", "pg_snapshot"})


def _numeric_key(text: bytes) -> tuple[object, ...]:
    """1.0 and 1.00 are equal; NaN equals itself, and is the greatest."""
    if text == b"NaN":
        return (1,)
    try:
        return (0, Decimal(text.decode("ascii")))
    except ArithmeticError:
        raise ValueError("not a number") from None


def _float_key(text: bytes) -> tuple[object, ...]:
    """0 and -0 are equal; NaN equals itself, and is the greatest."""
    return (1,) if text == b"NaN" else (0, float(text))


def _blank_padded_key(text: bytes) -> bytes:
    """Blanks at the end of a char(n) do not count."""
    return text.rstrip(b" ")


def _date_key(text: bytes) -> tuple[object, ...]:
    """Years come first: `20000-01-01` is after `2026-01-01`, and `0044-03-15 BC` before both. Days sort as text.

    Source: PostgreSQL, chapter "Date/Time Types", datestyle ISO, time zone UTC.
    """
    if text.endswith(b"infinity"):
        return (float("-inf"),) if text.startswith(b"-") else (float("inf"),)
    is_before_christ = text.endswith(b" BC")
    year, _, rest = text.removesuffix(b" BC").partition(b"-")
    return (1 - int(year) if is_before_christ else int(year), rest.removesuffix(b"+00"))


def _timetz_key(text: bytes) -> tuple[int, int]:
    """Ordered by the moment, then by the zone, the easternmost first.

    Source: PostgreSQL, src/backend/utils/adt/date.c, timetz_cmp_internal.
    """
    found = _TIMETZ.fullmatch(text)
    if found is None:
        raise ValueError("not a time with a zone")
    zone = 0
    for part in found[3].split(b":"):
        zone = zone * 60 + int(part)
    zone *= 60 ** (2 - found[3].count(b":"))
    west = zone if found[2] == b"-" else -zone
    return _clock_us(found[1].decode()) + west * 1_000_000, west


_TIMETZ: Final = re.compile(rb"([0-9:.]+)([+-])([0-9:]+)")


def _interval_key(text: bytes) -> tuple[int, int]:
    """'1 day' equals '24:00:00', '1 month' equals '30 days': Postgres compares their length.

    Source: PostgreSQL, chapter "Date/Time Types", intervalstyle `postgres`: `1 year 2 mons -3 days +04:05:06.5`.
    """
    if text in {b"infinity", b"-infinity"}:
        return (1, 0) if text == b"infinity" else (-1, 0)
    try:
        return 0, _interval_us(text.decode())
    except KeyError:
        raise ValueError("not an interval") from None


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


_DAY_US: Final = 86_400_000_000
_UNIT_US: Final = {
    "day": _DAY_US,
    "days": _DAY_US,
    "mon": 30 * _DAY_US,
    "mons": 30 * _DAY_US,
    "year": 360 * _DAY_US,
    "years": 360 * _DAY_US,
}


def _network_key(text: bytes) -> tuple[object, ...]:
    """First the family, then the bits of the network, a network before what is in it, then the whole address.

    Source: PostgreSQL, src/backend/utils/adt/network.c, network_cmp_internal.
    """
    interface = ip_interface(text.decode("ascii"))
    number = int(interface.ip)
    width = interface.max_prefixlen
    return interface.version, format(number, f"0{width}b")[: interface.network.prefixlen], number


def _lsn_key(text: bytes) -> int:
    high, _, low = text.partition(b"/")
    return int(high, 16) << 32 | int(low, 16)


def _jsonb_key(text: bytes) -> object:
    """Numbers are equal by value, however they are written; everything else prints alike."""
    try:
        return _frozen(json.loads(text, parse_float=Decimal, parse_int=Decimal))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _frozen(value: Any) -> object:
    # A type's name goes before a value that Python would take for equal to one of another type.
    if isinstance(value, dict):
        return ("object", *[(key, _frozen(inside)) for key, inside in value.items()])
    if isinstance(value, list):
        return ("array", *map(_frozen, value))
    return (type(value).__name__, value)


def _array_key(element: KeyFunction) -> KeyFunction:
    """Element by element, NULL being equal to itself and the greatest; then the shape.

    Source: PostgreSQL, chapter "Array Functions and Operators".
    """

    def key(text: bytes) -> tuple[object, ...]:
        parts = split_array(text)
        elements = tuple((1,) if one is None else (0, element(one)) for one in parts.elements)
        return elements, len(parts.sizes), parts.sizes, parts.starts

    return key


def _range_key(bound: KeyFunction) -> KeyFunction:
    """The empty range is the least; then by the lower bound, then by the upper one.

    Source: PostgreSQL, chapter "Range Functions and Operators".
    """

    def key(text: bytes) -> tuple[object, ...]:
        parts = split_range(text)
        if parts is None:
            return (0,)
        lower = (-1,) if parts.lower is None else (0, bound(parts.lower), 0 if parts.has_lower else 1)
        upper = (1,) if parts.upper is None else (0, bound(parts.upper), 1 if parts.has_upper else 0)
        return 1, lower, upper

    return key


_ORDERS: Final[dict[str, KeyFunction]] = {
    **dict.fromkeys(["bool", "uuid", "bytea", "time", "macaddr", "macaddr8", "bit", "varbit", "name"], same),
    **dict.fromkeys(["int2", "int4", "int8", "oid", "xid8"], int),
    **dict.fromkeys(["date", "timestamp", "timestamptz"], _date_key),
    **dict.fromkeys(["float4", "float8"], _float_key),
    **dict.fromkeys(["inet", "cidr"], _network_key),
    "numeric": _numeric_key,
    "timetz": _timetz_key,
    "interval": _interval_key,
    "pg_lsn": _lsn_key,
}

_RANGES: Final = {
    "int4range": "int4",
    "int8range": "int8",
    "numrange": "numeric",
    "tsrange": "timestamp",
    "tstzrange": "timestamptz",
    "daterange": "date",
}

_EQUALITIES: Final[dict[str, KeyFunction]] = {
    **dict.fromkeys(_ORDERS, same),
    **dict.fromkeys(["text", "varchar", "char", "xid", "cid", "tid", "money", "tsvector"], same),
    **dict.fromkeys(["int4multirange", "int8multirange", "tsmultirange", "tstzmultirange", "datemultirange"], same),
    "numeric": _numeric_key,
    "float4": _float_key,
    "float8": _float_key,
    "bpchar": _blank_padded_key,
    "interval": _interval_key,
    "jsonb": _jsonb_key,
}
