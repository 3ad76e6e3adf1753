"""An endpoint of a test's: notes what is posted to it, and answers as it is told."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

import orjson

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from fix_clients import Schema

HANG = 0
"""The answer that does not come."""

DEADLINE_S = 15.0

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@dataclass(frozen=True)
class Post:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def changes(self) -> list[dict[str, Any]]:
        return orjson.loads(self.body)["changes"]

    @property
    def row_ids(self) -> list[int]:
        return [(change.get("record") or change["old_record"])["id"] for change in self.changes]


Answer = int | tuple[int, dict[str, str]]


class Receiver:
    """A server on a free port of loopback. Use with `with`.

    Attributes:
        answer: Given the number of the request, from 0, and the request; called in any thread.
        posts: What was posted, in order.
        accepted: That which was answered with 2xx.
    """

    def __init__(self, answer: Callable[[int, Post], Answer] | None = None, tls: ssl.SSLContext | None = None) -> None:
        self.answer = answer or (lambda _number, _post: 204)
        self.posts: list[Post] = []
        self.accepted: list[Post] = []
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._tls = tls
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer.take(self)

            def log_message(self, *_arguments: object) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_arguments: object) -> None:
                """Servers that are killed break their connections off."""

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str = "/hook") -> str:
        return f"http{'s' if self._tls else ''}://127.0.0.1:{self.port}{path}"

    def take(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers["Content-Length"])
        body = handler.rfile.read(length)
        if len(body) < length:  # the sender was killed
            handler.close_connection = True
            return
        post = Post(handler.path, {name.lower(): value for name, value in handler.headers.items()}, body)
        with self._lock:
            number = len(self.posts)
            self.posts.append(post)
        answer = self.answer(number, post)
        if answer == HANG:
            self._closing.wait(60)
            handler.close_connection = True
            return
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        if 200 <= status < 300:
            with self._lock:
                self.accepted.append(post)
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        if status != 204:
            handler.send_header("Content-Length", "0")
        handler.end_headers()

    def wait_for(self, count: int, *, deadline_s: float = DEADLINE_S) -> list[Post]:
        """Wait for so many accepted requests; return them."""
        ends = time.monotonic() + deadline_s
        while len(self.accepted) < count:
            assert time.monotonic() < ends, f"{len(self.accepted)} of {count} accepted, {len(self.posts)} posted"
            time.sleep(0.01)
        return self.accepted[:count]

    def wait_for_posts(self, count: int, *, deadline_s: float = DEADLINE_S) -> list[Post]:
        """Wait for so many requests, accepted or not; return them."""
        ends = time.monotonic() + deadline_s
        while len(self.posts) < count:
            assert time.monotonic() < ends, f"{len(self.posts)} of {count} posted"
            time.sleep(0.01)
        return self.posts[:count]


def to(receiver: Receiver, schema: Schema, path: str = "/hook", **more: Any) -> dict[str, Any]:
    """An item that sends a schema's changes to a receiver."""
    return {"relation": schema.name, "config": {"endpoint": receiver.url(path)}, **more}
