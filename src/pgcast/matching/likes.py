"""SQL's LIKE, in linear time for all patterns but those with many `_`: no pattern can stall who tests it.

A pattern is cut at its `%` into pieces. The first must stand at the beginning, the last at the end, and each one
between as early as possible behind the one before.

Source: PostgreSQL, chapter "Pattern Matching", LIKE.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from pgcast.model.errors import BindingError

if TYPE_CHECKING:
    from collections.abc import Callable

_ANY: Final = None
_Piece = list["str | None"]


def like_test(pattern: str, *, folds_ascii: bool = False) -> Callable[[bytes], bool]:
    """Return the test of a value's text.

    Args:
        pattern: With `%`, `_`, and a backslash before what shall stand for itself.
        folds_ascii: Whether the letters A to Z are equal to a to z.

    Raises:
        BindingError: The pattern ends with its escape character.
    """
    pieces = [_compile(piece, folds_ascii=folds_ascii) for piece in _pieces(pattern)]
    first, last = pieces[0], pieces[-1]

    def test(value: bytes) -> bool:
        text = value.decode(errors="surrogateescape")
        if len(pieces) == 1:
            return first.fullmatch(text) is not None
        begin = first.match(text)
        if begin is None:
            return False
        at = begin.end()
        for piece in pieces[1:-1]:
            found = piece.search(text, at)
            if found is None:
                return False
            at = found.end()
        end = len(text) - lengths[-1]
        return end >= at and last.match(text, end) is not None

    lengths = [len(piece) for piece in _pieces(pattern)]
    return test


def like_prefix(pattern: str) -> bytes:
    """Return what every value that a pattern matches begins with."""
    first = _pieces(pattern)[0]
    if _ANY in first:
        first = first[: first.index(_ANY)]
    return "".join(character for character in first if character is not _ANY).encode()


def _pieces(pattern: str) -> list[_Piece]:
    """Cut a pattern into pieces of single characters, None for any."""
    pieces: list[_Piece] = [[]]
    at = 0
    while at < len(pattern):
        character = pattern[at]
        if character == "%":
            pieces.append([])
        elif character == "_":
            pieces[-1].append(_ANY)
        else:
            if character == "\\":
                at += 1
                if at == len(pattern):
                    raise BindingError("LIKE pattern must not end with escape character")
            pieces[-1].append(pattern[at])
        at += 1
    return pieces


def _compile(piece: _Piece, *, folds_ascii: bool) -> re.Pattern[str]:
    text = "".join("." if character is _ANY else _literal(character, folds_ascii=folds_ascii) for character in piece)
    return re.compile(text, re.DOTALL)


def _literal(character: str, *, folds_ascii: bool) -> str:
    if folds_ascii and character.isascii() and character.isalpha():
        return f"[{character.lower()}{character.upper()}]"
    return re.escape(character)
