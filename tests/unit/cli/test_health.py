"""The question that a health check asks, put to a small server."""

from __future__ import annotations

import http.server
import os
import threading
from typing import TYPE_CHECKING

import pytest

from making_certificates import make_certificate
from pgcast.cli.health import ask_whether_ready
from pgcast.model.errors import PgcastError, SettingsError
from pgcast.settings import Settings, read_settings
from pgcast.web.tls import server_context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = self.server.answer if self.path == "/ready" else (404, b"")  # type: ignore[attr-defined]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answer) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def settings(port: int, **more: str) -> Settings:
    return read_settings({"PORT": str(port), **more})


@pytest.mark.parametrize("more", [{}, {"SECURE_CHANNELS": "false"}], ids=["loopback", "everywhere"])
def test_a_server_that_is_ready_is_found(server: http.server.ThreadingHTTPServer, more: dict[str, str]):
    server.answer = (200, b'{"ready":true,"reason":null}')  # type: ignore[attr-defined]
    ask_whether_ready(settings(server.server_port, **more))


def test_a_server_behind_tls_is_found_whatever_its_certificate_says(
    server: http.server.ThreadingHTTPServer, tmp_path: Path
):
    made = make_certificate(tmp_path, "realtime.example.org")
    server.socket = server_context(made.cert, made.key).wrap_socket(server.socket, server_side=True)
    server.answer = (200, b"{}")  # type: ignore[attr-defined]
    ask_whether_ready(settings(server.server_port, PGCAST_TLS_CERT=str(made.cert), PGCAST_TLS_KEY=str(made.key)))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"ready":false,"reason":"the stream is silent"}', "the stream is silent"),
        (b"<html>", "the answer is not pgcast's"),
        (b"[]", "the answer is not pgcast's"),
    ],
)
def test_one_that_is_not_ready_says_why(server: http.server.ThreadingHTTPServer, body: bytes, reason: str):
    server.answer = (503, body)  # type: ignore[attr-defined]
    with pytest.raises(PgcastError) as caught:
        ask_whether_ready(settings(server.server_port))
    assert caught.value.message == f"not ready: {reason}"


def test_no_server_is_said_with_the_address():
    with pytest.raises(PgcastError, match=r"^no server at 127\.0\.0\.1 port 1: "):
        ask_whether_ready(settings(1))


def test_a_free_port_cannot_be_known():
    with pytest.raises(SettingsError, match="PORT: "):
        ask_whether_ready(settings(0))
