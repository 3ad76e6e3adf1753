"""Listen with the official Python client, and print what an application would get, one JSON object a line.

    python listen.py '{"url": "ws://127.0.0.1:4000/socket", "apikey": "...",
                       "channels": [{"topic": "room", "bindings": [{"event": "*", "schema": "public", "table": "t"}]}]}'

    url           the socket's URL
    apikey        the key
    params        more parameters for the socket's URL, for example {"resume": "an-id"}
    heartbeat_ms  how often the client asks whether the server is there; the package's own choice if it is missing
    attempts      after how many failures to connect it gives up; the package's own choice if it is missing
    token         the first token for channels, as `set_auth` takes it; the key if it is missing
    channels      topics as an application names them, without "realtime:"; `bindings` are those of postgres_changes
                  (this client knows the keys event, schema, table, filter and select), `config` is the channel's own;
                  `broadcasts` are events to listen for, `presence` says whether to listen for who comes and goes;
                  `joins` false makes a channel that is not joined

Lines out: {"status", "topic", "error"?}, {"change", "topic", "listener"} with the index of the binding that was told,
{"broadcast", "topic"}, {"presence", "topic"} with the whole state after each change, {"comes", "topic"} and
{"goes", "topic"} with a key, {"did", "topic"} with what came of a command, {"system", "topic"}, {"left", "topic"},
{"log"} for what the client complains about or does not understand and drops,
{"raised", "topic"} for what `subscribe` raises, {"crash"} for what no application could have caught.
Lines in: {"join": {a channel as above}}, {"leave": topic}, {"send" | "httpSend": [event, payload], "topic"},
{"track": payload, "topic"}, {"untrack": true, "topic"}, {"look": true, "topic"} for who is there, {"setAuth": token}.
Ends when standard input does, or by SIGTERM.

Runs in an environment of its own, which has the client and nothing of pgcast.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Sequence
from typing import Any

from realtime import (
    AsyncRealtimeChannel,
    AsyncRealtimeClient,
    RealtimePostgresChangesListenEvent,
    RealtimeSubscribeStates,
)


def write(**line: Any) -> None:
    print(json.dumps(line, default=str), flush=True)


class Lines(logging.Handler):
    """Warnings and errors of the client, as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        write(log=record.getMessage().splitlines()[0])


class Interval(float):
    """A heartbeat's interval that `max` prefers: the client never goes below its own idea of the shortest."""

    def __lt__(self, other: object) -> bool:
        return False


def make_client(config: dict[str, Any]) -> AsyncRealtimeClient:
    options: dict[str, Any] = {}
    if "heartbeat_ms" in config:
        options["hb_interval"] = Interval(config["heartbeat_ms"] / 1000)
    if "attempts" in config:
        options["max_retries"] = config["attempts"]
    return AsyncRealtimeClient(config["url"], config["apikey"], params=config.get("params"), **options)


def make_channel(
    client: AsyncRealtimeClient,
    topic: str,
    bindings: Sequence[dict[str, Any]],
    broadcasts: Sequence[str],
    *,
    presence: bool,
    config: dict[str, Any] | None,
) -> AsyncRealtimeChannel:
    channel = client.channel(topic, {"config": config} if config else None)  # type: ignore[arg-type]
    for listener, binding in enumerate(bindings):
        # A class in the newer versions, a list of texts before.
        is_class = isinstance(RealtimePostgresChangesListenEvent, type)
        event = RealtimePostgresChangesListenEvent(binding["event"]) if is_class else binding["event"]
        rest = {key: value for key, value in binding.items() if key != "event"}
        channel.on_postgres_changes(
            event, lambda change, listener=listener: write(change=change, topic=topic, listener=listener), **rest
        )
    for event in broadcasts:
        channel.on_broadcast(event, lambda message: write(broadcast=message, topic=topic))
    if presence:
        channel.on_presence_sync(lambda: write(presence=channel.presence_state(), topic=topic))
        channel.on_presence_join(lambda key, *_: write(comes=key, topic=topic))
        channel.on_presence_leave(lambda key, *_: write(goes=key, topic=topic))
    channel.on_system(lambda system: write(system=dict(system), topic=topic))
    return channel


async def join(
    client: AsyncRealtimeClient,
    topic: str,
    bindings: Sequence[dict[str, Any]] = (),
    broadcasts: Sequence[str] = (),
    *,
    presence: bool = False,
    config: dict[str, Any] | None = None,
    joins: bool = True,
) -> None:
    channel = make_channel(client, topic, bindings, broadcasts, presence=presence, config=config)

    def on_status(status: RealtimeSubscribeStates, error: Exception | None) -> None:
        write(status=status.value, topic=topic, **({"error": str(error)} if error else {}))

    if not joins:
        return
    try:
        await channel.subscribe(on_status)
    except Exception as error:  # noqa: BLE001 - whatever it is, the application gets it
        write(raised=f"{type(error).__name__}: {error}", topic=topic)


async def join_all(client: AsyncRealtimeClient, channels: Sequence[dict[str, Any]]) -> None:
    for channel in channels:
        await join(client, **channel)


def as_bytes(payload: Any) -> Any:
    return bytes.fromhex(payload["hex"]) if isinstance(payload, dict) and "hex" in payload else payload


def known(client: AsyncRealtimeClient, topic: str) -> AsyncRealtimeChannel:
    """The channel that was made for a topic."""
    return next(channel for channel in client.get_channels() if channel.topic == f"realtime:{topic}")


async def act(client: AsyncRealtimeClient, command: dict[str, Any]) -> None:
    channel = known(client, command["topic"])
    if "send" in command:
        await channel.send_broadcast(*command["send"])
    if "httpSend" in command:
        event, payload = command["httpSend"]
        await channel.http_send(event, as_bytes(payload))
    if "track" in command:
        await channel.track(command["track"])
    if "untrack" in command:
        await channel.untrack()
    write(did=channel.presence_state() if "look" in command else "ok", topic=command["topic"])


async def leave(client: AsyncRealtimeClient, topic: str) -> None:
    await known(client, topic).unsubscribe()
    write(left="ok", topic=topic)


async def until_the_end(client: AsyncRealtimeClient) -> None:
    """Obey the lines that come in."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    try:
        while line := await reader.readline():
            command = json.loads(line)
            if "join" in command:
                await join(client, **command["join"])
            if "leave" in command:
                await leave(client, command["leave"])
            if "topic" in command:
                await act(client, command)
            if "setAuth" in command:
                await client.set_auth(command["setAuth"])
    finally:
        transport.close()


async def main(config: dict[str, Any]) -> None:
    logging.getLogger("realtime").addHandler(Lines(logging.WARNING))
    client = make_client(config)
    end = asyncio.create_task(until_the_end(client))
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: write(crash=f"{context['message']}: {context.get('exception')!r}")
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.cancel)
    if "token" in config:
        await client.set_auth(config["token"])
    # One after the other: older versions open a connection for each that is joined before the first one is there.
    listening = asyncio.create_task(join_all(client, config["channels"]))
    await asyncio.wait([end])
    listening.cancel()
    await client.close()


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
