"""Postgres' text of arrays, ranges and json, taken apart as far as comparing them needs.

Source: PostgreSQL, chapters "Arrays" (Array Input and Output Syntax), "Range Types" and "JSON Types".
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

import msgspec

_TOKEN: Final = re.compile(rb'([{},])|"((?:[^"\\]|\\.)*)"|([^{},"\\]+)', re.DOTALL)
_ESCAPE: Final = re.compile(rb"\\(.)", re.DOTALL)
_BOUNDS: Final = re.compile(rb"\[(-?\d+):(-?\d+)\]")

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_LIST: Final = msgspec.json.Decoder(list[msgspec.Raw])
_STRING: Final = msgspec.json.Decoder(str)


class ArrayParts(NamedTuple):
    """An array's elements in a row, and its shape.

    Attributes:
        elements: Their text; None for NULL.
        sizes: Of each dimension.
        starts: The first subscript of each dimension.
    """

    elements: list[bytes | None]
    sizes: tuple[int, ...]
    starts: tuple[int, ...]


def split_array(text: bytes) -> ArrayParts:
    """Take the text of an array apart whose elements stand between commas.

    Raises:
        ValueError: It is no array.
    """
    starts: tuple[int, ...] = ()
    if text.startswith(b"["):
        prefix, _, text = text.partition(b"=")
        starts = tuple(int(low) for low, _ in _BOUNDS.findall(prefix))
    elements: list[bytes | None] = []
    sizes: dict[int, int] = {}
    counts: list[int] = []
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError("not an array")
        at = token.end()
        mark, quoted, plain = token.groups()
        if mark == b"{":
            if counts:
                counts[-1] += 1
            counts.append(0)
        elif mark == b"}":
            sizes.setdefault(len(counts), counts.pop())
        elif mark is None:
            counts[-1] += 1
            if quoted is not None:
                elements.append(_ESCAPE.sub(rb"\1", quoted))
            else:
                elements.append(None if plain == b"NULL" else plain)
    dimensions = tuple(sizes[depth] for depth in sorted(sizes)) if elements else ()
    return ArrayParts(elements, dimensions, starts or (1,) * len(dimensions))


class RangeParts(NamedTuple):
    """A range that is not empty; a bound that is missing is None."""

    lower: bytes | None
    upper: bytes | None
    has_lower: bool
    has_upper: bool


def split_range(text: bytes) -> RangeParts | None:
    """Take the text of a range apart whose bounds contain no comma; None for the empty range.

    Raises:
        ValueError: It is no range.
    """
    if text == b"empty":
        return None
    if text[:1] not in {b"[", b"("} or text[-1:] not in {b"]", b")"} or b"," not in text:
        raise ValueError("not a range")
    lower, _, upper = text[1:-1].partition(b",")
    return RangeParts(
        lower.strip(b'"') or None,
        upper.strip(b'"') or None,
        has_lower=text.startswith(b"["),
        has_upper=text.endswith(b"]"),
    )


def json_at(text: bytes, path: tuple[str | int, ...], *, is_binary: bool) -> bytes | None:
    """Return what stands at a path in the text of a json value, as it stands there; None where nothing does.

    Args:
        text: Of a `json` or `jsonb` value.
        path: Keys of objects, and numbers of elements from 0, or from the end if negative.
        is_binary: Whether it is `jsonb`, where a scalar counts as an array of itself.
    """
    try:
        for step in path:
            if isinstance(step, str):
                found = _OBJECT.decode(text).get(step)
                if found is None:
                    return None
                text = bytes(found)
            elif is_binary and text[:1] not in {b"[", b"{"}:
                if step not in {0, -1}:
                    return None
            else:
                elements = _LIST.decode(text)
                if not -len(elements) <= step < len(elements):
                    return None
                text = bytes(elements[step])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return text


def json_text(text: bytes) -> bytes | None:
    """Return what `->>` makes of a json value: a string's content, NULL of null, else its text."""
    if text == b"null":
        return None
    if not text.startswith(b'"'):
        return text
    try:
        return _STRING.decode(text).encode()
    except (msgspec.DecodeError, UnicodeError):
        return None
