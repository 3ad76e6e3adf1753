"""From the files of a certificate and its key to what a TLS server needs; whatever is wrong with them is said.

Certificates are renewed every few weeks. A server looks at its files once a minute and takes a renewed certificate up
for new connections; one that cannot be used leaves the old one in force.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Final

from pgcast.logs import get_logger
from pgcast.model.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

log = get_logger(__name__)

_CERT: Final = "PGCAST_TLS_CERT"
_KEY: Final = "PGCAST_TLS_KEY"
_LOOK_S: Final = 60.0


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """Make the context of a server: TLS 1.2 or newer, HTTP/1.1.

    Args:
        cert: A PEM file: the server's certificate first, then those that signed it.
        key: A PEM file: the certificate's key.

    Raises:
        SettingsError: A file cannot be read or holds something else, the key has a passphrase, or is another one's.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _load(context, cert, key)
    return context


async def keep_renewed(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    """Look at the files of a context that is in use, for ever and now and then, and load them when they are new."""
    loaded = _stamps(cert, key)
    while True:
        await asyncio.sleep(_LOOK_S)
        stamps = _stamps(cert, key)
        if stamps == loaded:
            continue
        try:
            # Tried on another context first: a failure in the middle would leave this one without a key.
            server_context(cert, key)
            _load(context, cert, key)
        except SettingsError as error:
            log.warning("the renewed certificate cannot be used; the old one stays", error=error.message)
        else:
            loaded = stamps
            log.info("renewed certificate taken up", file=str(cert))


def _load(context: ssl.SSLContext, cert: Path, key: Path) -> None:
    certificates, keys = _read(_CERT, cert), _read(_KEY, key)
    if b"-----BEGIN CERTIFICATE-----" not in certificates:
        raise SettingsError(f"{_CERT}: {cert} holds no certificate in PEM", hint="it has a line BEGIN CERTIFICATE")
    if b"PRIVATE KEY-----" not in keys:
        raise SettingsError(f"{_KEY}: {key} holds no private key in PEM", hint="it has a line BEGIN PRIVATE KEY")
    if b"ENCRYPTED" in keys:
        raise SettingsError(
            f"{_KEY}: {key} has a passphrase", hint="write the key into a file without one: openssl pkey"
        )
    try:
        # Without a password of ours OpenSSL would ask for one on the terminal.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH" or "key values mismatch" in str(error):
            raise SettingsError(
                f"{_KEY}: {key} is not the key of the certificate in {cert}",
                hint=f"the server's own certificate comes first in {_CERT}, before those that signed it",
            ) from None
        reason = (error.reason or "unknown").replace("_", " ").lower()
        raise SettingsError(f"{_CERT}: {cert} and {key} cannot be used for TLS: {reason}") from None


def _read(variable: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SettingsError(
            f"{variable}: cannot read {path}: {error.strerror}", hint=f"{variable} is a PEM file"
        ) from None


def _stamps(*paths: Path) -> list[tuple[int, int]]:
    """Return what differs once a file was written or replaced."""
    stamps = []
    for path in paths:
        try:
            found = path.stat()
            stamps.append((found.st_ino, found.st_mtime_ns))
        except OSError:
            stamps.append((0, 0))
    return stamps
