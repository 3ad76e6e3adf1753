"""Listen with the official Python client, and print what an application would get, one JSON object a line.

    python listen.py '{"url": "ws://127.0.0.1:4000/socket", "apikey": "...",
                       "channels": [{"topic": "room", "bindings": [{"event": "*", "schema": "public", "table": "t"}]}]}'

    url        the socket's URL
    apikey     the key
    params     more parameters for the socket's URL, for example {"resume": "an-id"}
    channels   topics as an application names them, without "realtime:"; `bindings` are those of postgres_changes (this
               client knows the keys event, schema, table, filter and select), `config` is the channel's own

Lines: {"status", "topic", "error"?}, {"change", "topic"}, {"system", "topic"}, {"log"} for what the client does not
understand and drops, {"crash"} when it gave up. Ends when standard input does, or by SIGTERM.

Runs in an environment of its own, which has the client and nothing of pgcast.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from typing import Any

from realtime import AsyncRealtimeClient, RealtimePostgresChangesListenEvent, RealtimeSubscribeStates


def write(**line: Any) -> None:
    print(json.dumps(line, default=str), flush=True)


class Lines(logging.Handler):
    """Warnings and errors of the client, as lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        write(log=record.getMessage().splitlines()[0])


async def listen(
    client: AsyncRealtimeClient, topic: str, bindings: list[dict[str, Any]], config: dict[str, Any]
) -> None:
    channel = client.channel(topic, {"config": config} if config else None)  # type: ignore[arg-type]

    def on_status(status: RealtimeSubscribeStates, error: Exception | None) -> None:
        write(status=status.value, topic=topic, **({"error": str(error)} if error else {}))

    for binding in bindings:
        event = RealtimePostgresChangesListenEvent(binding["event"])
        rest = {key: value for key, value in binding.items() if key != "event"}
        channel.on_postgres_changes(event, lambda change: write(change=change, topic=topic), **rest)
    channel.on_system(lambda system: write(system=dict(system), topic=topic))
    await channel.subscribe(on_status)


async def until_the_end() -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    waiting = [asyncio.create_task(ended.wait()), asyncio.create_task(reader.read())]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    transport.close()


async def main(config: dict[str, Any]) -> int:
    handler = Lines(logging.WARNING)
    logging.getLogger("realtime").addHandler(handler)
    client = AsyncRealtimeClient(config["url"], config["apikey"], params=config.get("params"))
    end = asyncio.create_task(until_the_end())
    listening = asyncio.gather(
        *(listen(client, one["topic"], one.get("bindings", []), one.get("config", {})) for one in config["channels"])
    )
    await asyncio.wait([end, listening], return_when=asyncio.FIRST_COMPLETED)
    if listening.done() and (failure := listening.exception()) is not None:
        write(crash=f"{type(failure).__name__}: {failure}")
        end.cancel()
        return 1
    await end
    listening.cancel()
    await client.close()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(json.loads(sys.argv[1]))))
