"""A client's JSON text to typed values. Whatever is wrong with it, and however deep it nests, is a FrameError.

Payloads are read one level at a time, and only where someone needs that level: the levels below stay `Raw`, the bytes
as the client wrote them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
import orjson

from pgcast.model.errors import FrameError

if TYPE_CHECKING:
    from pgcast.frames.message import Payload, Ref

T = TypeVar("T")

NULL: Final = b"null"

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


def read(decoder: msgspec.json.Decoder[T], text: str | bytes | msgspec.Raw) -> T:
    """Decode one JSON text.

    Args:
        decoder: Says which shape is expected.
        text: Where it is bytes, what stays `Raw` in the result is not checked for valid UTF-8.

    Raises:
        FrameError: Not JSON, not of that shape, not UTF-8, or nested too deeply. The message names places, no values.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise FrameError(f"a message of the wrong shape: {error}") from None
    except UnicodeError:
        raise FrameError("a message that is not UTF-8") from None
    except RecursionError:
        raise FrameError("a message that nests too deeply") from None
    except msgspec.DecodeError as error:
        raise FrameError(f"a message that is not JSON: {error}") from None


def as_text(text: str | bytes) -> str:
    """Return a text message's payload as text: what is in it is repeated to clients, so it has to be valid UTF-8.

    Raises:
        FrameError: The bytes are not UTF-8.
    """
    try:
        return text if isinstance(text, str) else text.decode()
    except UnicodeDecodeError:
        raise FrameError("a message that is not UTF-8") from None


def read_object(payload: Payload | msgspec.Raw) -> dict[str, msgspec.Raw]:
    """Take a JSON object apart by one level, in the order of its keys; of equal keys the last one counts.

    Raises:
        FrameError: The payload is no JSON object.
    """
    if not isinstance(payload, bytes | msgspec.Raw):
        raise FrameError("a binary payload where a JSON object is expected")
    return read(_OBJECT, payload)


def read_or(decoder: msgspec.json.Decoder[T], text: msgspec.Raw | None, default: T) -> T:
    """Decode a value of a payload, or return the default where it is absent or of another type."""
    if text is None:
        return default
    try:
        return read(decoder, text)
    except FrameError:
        return default


def write(value: Ref | tuple[int, ...]) -> bytes:
    """Return a ref, a text or a list of ids as JSON."""
    return orjson.dumps(value)
