"""Follow a database from within: a node with one client, which has no socket."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pgcast.app import make_node
from pgcast.cli.tail.inbox import Inbox
from pgcast.cli.tail.printer import Printer
from pgcast.frames.codec import serializer_for
from pgcast.model.errors import BindingError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgcast.settings import Settings

_TOPIC: Final = "realtime:tail"


class _Data(msgspec.Struct):
    data: msgspec.Raw


class _System(msgspec.Struct):
    status: str = ""
    message: str = ""
    code: str = ""


_MESSAGE: Final = msgspec.json.Decoder(tuple[msgspec.Raw, msgspec.Raw, str, str, msgspec.Raw])
_DATA: Final = msgspec.json.Decoder(_Data)
_SYSTEM: Final = msgspec.json.Decoder(_System)


async def follow(
    settings: Settings, bindings: Sequence[dict[str, str]], line: Callable[[bytes], bytes], descriptor: int
) -> None:
    """Write a line for each change, for ever; until the reader of the lines has gone.

    Args:
        settings: The database and the slot.
        bindings: The entries of the join.
        line: From the `data` of a message to the line, line break included.
        descriptor: Where the lines go.

    Raises:
        DatabaseError: The stream cannot be opened, or the lines are read too slowly.
        BindingError: A binding cannot be served.
    """
    node = make_node(settings)
    inbox = Inbox()
    printer = Printer(descriptor)
    try:
        await node.start()
        client = node.connect(serializer_for("2.0.0"), inbox)
        inbox.when_resumed = client.resumed
        client.receive_text(_join(bindings))
        while True:
            lines = b"".join([line(data) for data in map(_data_of, await inbox.read()) if data is not None])
            if lines:
                await printer.write(lines)
    except BrokenPipeError:
        return
    finally:
        await node.stop()


def _join(bindings: Sequence[dict[str, str]]) -> bytes:
    payload: Any = {"config": {"postgres_changes": list(bindings)}}
    return msgspec.json.encode(["1", "1", _TOPIC, "phx_join", payload])


def _data_of(message: bytes) -> bytes | None:
    """Return the change in a message; what else the server says goes to the terminal.

    Raises:
        BindingError: The server says that the bindings cannot be served.
    """
    _, _, _, event, payload = _MESSAGE.decode(message)
    if event == "postgres_changes":
        return bytes(_DATA.decode(payload).data)
    if event == "system":
        said = _SYSTEM.decode(payload)
        if said.status == "error":
            raise BindingError(
                said.message, hint="is the table in the publication? ALTER PUBLICATION ... ADD TABLE ... adds it"
            )
        text = "changes were missed while the database was away" if said.code == "GapDetected" else said.message
        print(f"pgcast tail: {text}", file=sys.stderr)  # noqa: T201 - what a command says
    return None
