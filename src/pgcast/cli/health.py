"""`pgcast health`: ask the server on this machine whether it is ready; for a container's health check."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
from typing import TYPE_CHECKING, Final

import typer

from pgcast.cli.errors import report_errors
from pgcast.model.errors import PgcastError, SettingsError
from pgcast.settings import read_settings

if TYPE_CHECKING:
    from pgcast.settings import Settings

_TIMEOUT_S: Final = 3.0
_MAX_BYTES: Final = 64 * 1024
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing listens here


def health() -> None:
    """Ask the server with the same settings whether it is ready; the exit code is 0 if it is, otherwise 1."""
    with report_errors():
        ask_whether_ready(read_settings())
    typer.echo("ready")


def ask_whether_ready(settings: Settings) -> None:
    """Ask `/ready` at the address that the settings say.

    Raises:
        SettingsError: The settings do not say the port.
        PgcastError: There is no server, or it is not ready; the message is its reason.
    """
    if not settings.port:
        raise SettingsError("PORT: a server that takes a free port cannot be found", hint="set PORT")
    address = _EVERYWHERE.get(settings.listen_address, settings.listen_address)
    connection: http.client.HTTPConnection
    if settings.tls_cert is None:
        connection = http.client.HTTPConnection(address, settings.port, timeout=_TIMEOUT_S)
    else:
        # The certificate is for the server's public name, and this is a question about this machine's server.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(address, settings.port, timeout=_TIMEOUT_S, context=context)
    try:
        connection.request("GET", "/ready")
        with connection.getresponse() as response:
            body = response.read(_MAX_BYTES)
    except (OSError, http.client.HTTPException) as error:
        reason = "no answer in time" if isinstance(error, socket.timeout) else str(error)
        raise PgcastError(
            f"no server at {address} port {settings.port}: {reason}",
            hint="start it with `pgcast serve`, or say its PORT and PGCAST_BIND",
        ) from None
    finally:
        connection.close()
    if response.status != 200:
        raise PgcastError(f"not ready: {_reason_in(body)}")


def _reason_in(body: bytes) -> str:
    try:
        return str(json.loads(body)["reason"])
    except (ValueError, TypeError, KeyError):
        return "the answer is not pgcast's"
