"""Envelopes of a stream in a database's own encoding, to the same in UTF-8.

Postgres converts what it sends, and refuses a character that has no UTF-8 form. In encodings such as WIN1252 or EUC_JP
such characters can be stored, and then a replication stream in UTF-8 ends at that row, each time anew. Read without
conversion, it goes on; what cannot be read becomes U+FFFD here.

Source: PostgreSQL, chapters "Character Set Support" and "Logical Replication Message Formats".
"""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Final

from pgcast.wal.envelope import XLOG_DATA, XLOG_DATA_HEADER

if TYPE_CHECKING:
    from collections.abc import Callable

_TEXT: Final = ord("t")
_TUPLES: Final = frozenset(b"NKO")


class Transcoder:
    """Turns envelopes in a Python codec's encoding into envelopes in UTF-8.

    Text is what the database calls text: names, and values in text form. Every other envelope comes back as it is, and
    so does one that is malformed: the decoder will say what is wrong with it.

    Args:
        encoding: The codec.
    """

    def __init__(self, encoding: str) -> None:
        self._decode = codecs.getdecoder(encoding)

    def to_utf8(self, envelope: bytes) -> bytes:
        """Return the envelope with its text in UTF-8, U+FFFD for what the codec cannot read."""
        if len(envelope) <= XLOG_DATA_HEADER or envelope[0] != XLOG_DATA:
            return envelope
        rewrite = _REWRITERS.get(envelope[XLOG_DATA_HEADER])
        if rewrite is None:
            return envelope
        walk = _Walk(envelope, self._text)
        try:
            rewrite(walk)
        except LookupError:
            return envelope
        return walk.result()

    def _text(self, text: bytes) -> bytes:
        return text if text.isascii() else self._decode(text, "replace")[0].encode()


class _Walk:
    """A way through a message, behind its tag: what is passed over stays, text is rewritten."""

    def __init__(self, envelope: bytes, rewrite: Callable[[bytes], bytes]) -> None:
        self._data = envelope
        self._rewrite = rewrite
        self.at = XLOG_DATA_HEADER + 1
        self._pieces = [envelope[: self.at]]

    def is_at_end(self) -> bool:
        return self.at >= len(self._data)

    def keep(self, size: int) -> int:
        """Pass over a number; return it."""
        kept = self._data[self.at : self.at + size]
        if len(kept) < size:
            raise IndexError
        self._pieces.append(kept)
        self.at += size
        return int.from_bytes(kept)

    def name(self) -> None:
        """Rewrite a text that ends with a zero byte."""
        end = self._data.find(b"\0", self.at)
        if end < 0:
            raise IndexError
        self._pieces += (self._rewrite(self._data[self.at : end]), b"\0")
        self.at = end + 1

    def row(self) -> None:
        """Rewrite a tuple: number of columns: 2 | per column: kind: 1 | if it is text, size: 4, text."""
        for _ in range(self.keep(2)):
            if self.keep(1) == _TEXT:
                self._value()

    def _value(self) -> None:
        begin = self.at + 4
        size = int.from_bytes(self._data[self.at : begin])
        self.at = begin + size
        if self.at > len(self._data):
            raise IndexError
        text = self._rewrite(self._data[begin : self.at])
        self._pieces += (len(text).to_bytes(4), text)

    def result(self) -> bytes:
        return b"".join((*self._pieces, self._data[self.at :]))


def _relation(walk: _Walk) -> None:
    # OID: 4 | schema | name | replica identity: 1 | number of columns: 2 | flags: 1, name, type: 4, modifier: 4
    walk.keep(4)
    walk.name()
    walk.name()
    walk.keep(1)
    for _ in range(walk.keep(2)):
        walk.keep(1)
        walk.name()
        walk.keep(8)


def _type(walk: _Walk) -> None:
    # OID: 4 | then schema, name
    walk.keep(4)
    walk.name()
    walk.name()


def _origin(walk: _Walk) -> None:
    # commit LSN at the origin: 8 | name
    walk.keep(8)
    walk.name()


def _row_change(walk: _Walk) -> None:
    # OID: 4 | N, K or O, and a tuple; once or twice
    walk.keep(4)
    while not walk.is_at_end():
        if walk.keep(1) not in _TUPLES:
            raise IndexError
        walk.row()


_REWRITERS: Final[dict[int, Callable[[_Walk], None]]] = {
    ord("R"): _relation,
    ord("Y"): _type,
    ord("O"): _origin,
    ord("I"): _row_change,
    ord("U"): _row_change,
    ord("D"): _row_change,
}
