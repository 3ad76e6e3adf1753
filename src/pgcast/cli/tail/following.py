"""Follow a database from within: a node with one client, which has no socket."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pgcast.app import make_node, target_of
from pgcast.cli.tail.inbox import Inbox
from pgcast.cli.tail.printer import Printer
from pgcast.frames.codec import serializer_for
from pgcast.model.errors import BindingError
from pgcast.postgres.refusals import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pgcast.settings import Settings

_TOPIC: Final = "realtime:tail"
_SUBSCRIBED: Final = "Subscribed to PostgreSQL"


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
    words = _Words(settings)
    node = make_node(settings)
    inbox = Inbox()
    printer = Printer(descriptor)
    try:
        await node.start()
        client = node.connect(serializer_for("2.0.0"), inbox)
        inbox.when_resumed = client.resumed
        client.receive_text(_join(bindings))
        while True:
            lines = b"".join([line(data) for data in map(words.data_of, await inbox.read()) if data is not None])
            if lines:
                await printer.write(lines)
    except BrokenPipeError:
        return
    finally:
        printer.close()
        await node.stop()


def _join(bindings: Sequence[dict[str, str]]) -> bytes:
    payload: Any = {"config": {"postgres_changes": list(bindings)}}
    return msgspec.json.encode(["1", "1", _TOPIC, "phx_join", payload])


class _Words:
    """What the server says, for the terminal."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def data_of(self, message: bytes) -> bytes | None:
        """Return the change in a message; what else the server says goes to the terminal.

        Raises:
            BindingError: The server says that the bindings cannot be served.
        """
        _, _, _, event, payload = _MESSAGE.decode(message)
        if event == "postgres_changes":
            return bytes(_DATA.decode(payload).data)
        if event == "system":
            self._tell(_SYSTEM.decode(payload))
        return None

    def _tell(self, said: _System) -> None:
        settings = self._settings
        if said.status == "error":
            publication = quote_identifier(settings.publications[0])
            raise BindingError(
                said.message,
                hint=f"if the table is not published: ALTER PUBLICATION {publication} ADD TABLE <schema>.<table>;",
            )
        if said.code == "GapDetected":
            text = "changes were missed while the database was away"
        elif said.message == _SUBSCRIBED:
            text = (
                f"following {target_of(settings)} from now on, with the temporary slot {settings.slot_name} of its own"
            )
        else:
            text = said.message
        print(f"pgcast tail: {text}", file=sys.stderr)  # noqa: T201 - what a command says
