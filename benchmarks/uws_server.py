"""The uWebSockets baseline: a C++ WebSocket server's own `publish`, called through the PyPI package `socketify`.

A text that starts with `{"publish"` is an order, any other is a join:

    {"publish": 100, "first": 1, "before": "...", "after": "..."}

publishes 100 messages to everybody who joined, each `before`, its number, `after`, in one turn of the loop. Per message
Python does one call into C++, and uWebSockets does the rest. Three things are needed to see what it can do:

- The loop is libuv's own, which blocks; socketify's asyncio loop turns without a pause and takes a core while idle.
- The limit for unsent bytes is far away; at the default of 64 kB `publish` drops messages.
- Publishing happens in a timer, not where the order is read: while a message is handled its sender's socket holds
  the one cork there is, and every message to everybody else is then a write of its own (26 times slower, measured).

Usage: `uws_server.py PORT`; needs libuv on the machine (`libuv.so.1`, Debian: libuv1).
"""

from __future__ import annotations

import json
import sys
from collections import deque
from typing import Any

from socketify import App, AppListenOptions, OpCode

TOPIC = "bench"
UNSENT_LIMIT_BYTES = 256 * 1024 * 1024


def main() -> None:
    app = App()
    orders: deque[tuple[dict[str, Any], Any]] = deque()

    def publish(_: None) -> None:
        order, timer = orders.popleft()
        timer.stop()
        for number in range(order["first"], order["first"] + order["publish"]):
            app.publish(TOPIC, f"{order['before']}{number}{order['after']}", OpCode.TEXT)

    def take(socket: Any, text: str, _opcode: OpCode) -> None:
        if text.startswith('{"publish"'):
            orders.append((json.loads(text), app.loop.set_timeout(0, publish, None)))
            return
        socket.subscribe(TOPIC)
        socket.send("Subscribed to PostgreSQL", OpCode.TEXT)

    behaviour = {"message": take, "max_backpressure": UNSENT_LIMIT_BYTES, "idle_timeout": 0, "compression": 0}
    app.ws("/*", behaviour)
    app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"), lambda _: print("READY", flush=True))
    app.loop.uv_loop.run()


main()
