from __future__ import annotations

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from fix_clock import Clock
from making_certificates import Certificate, make_certificate
from pgcast.model.errors import SettingsError
from pgcast.web.tls import keep_renewed, server_context


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def wrong(cert: Path, key: Path) -> str:
    with pytest.raises(SettingsError) as caught:
        server_context(cert, key)
    return caught.value.message


def test_a_certificate_and_its_key_make_a_context(made: Certificate):
    context = server_context(made.cert, made.key)
    assert context.minimum_version.name == "TLSv1_2"


def test_a_file_that_cannot_be_read_is_named(made: Certificate, tmp_path: Path):
    missing = tmp_path / "missing.pem"
    assert wrong(missing, made.key) == f"PGCAST_TLS_CERT: cannot read {missing}: No such file or directory"
    assert wrong(made.cert, tmp_path) == f"PGCAST_TLS_KEY: cannot read {tmp_path}: Is a directory"


def test_files_that_hold_something_else_are_named(made: Certificate):
    assert wrong(made.key, made.key) == f"PGCAST_TLS_CERT: {made.key} holds no certificate in PEM"
    assert wrong(made.cert, made.cert) == f"PGCAST_TLS_KEY: {made.cert} holds no private key in PEM"


def test_a_key_of_another_certificate_is_named(made: Certificate, tmp_path: Path):
    other = make_certificate(tmp_path)
    assert wrong(made.cert, other.key) == (
        f"PGCAST_TLS_KEY: {other.key} is not the key of the certificate in {made.cert}"
    )


def test_a_key_with_a_passphrase_is_refused_and_asks_nobody(made: Certificate, tmp_path: Path):
    key = serialization.load_pem_private_key(made.key.read_bytes(), None)
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
    )
    assert wrong(made.cert, locked) == f"PGCAST_TLS_KEY: {locked} has a passphrase"


def test_a_damaged_file_is_named_with_what_openssl_says(made: Certificate, tmp_path: Path):
    damaged = tmp_path / "damaged.pem"
    damaged.write_text("-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n")
    assert wrong(damaged, made.key).startswith(f"PGCAST_TLS_CERT: {damaged} and {made.key} cannot be used for TLS: ")


def subject_of(context: ssl.SSLContext) -> bytes:
    """The certificate that a server with this context shows, without a socket."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client_context = ssl.create_default_context()
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE
    client = client_context.wrap_bio(to_client, to_server)
    server = context.wrap_bio(to_server, to_client, server_side=True)
    for side in (client, server, client, server):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    return shown


async def test_a_renewed_certificate_is_taken_up_and_a_wrong_one_leaves_the_old_in_force(clock: Clock, tmp_path: Path):
    (tmp_path / "other").mkdir()
    first = make_certificate(tmp_path)
    context = server_context(first.cert, first.key)
    shown_first = subject_of(context)
    looking = asyncio.create_task(keep_renewed(context, first.cert, first.key))
    await clock.advance(70, step_s=5)
    other = make_certificate(tmp_path / "other")
    first.cert.write_bytes(other.cert.read_bytes())
    await clock.advance(70, step_s=5)
    assert subject_of(context) == shown_first  # the key is still the old one's
    first.key.write_bytes(other.key.read_bytes())
    await clock.advance(70, step_s=5)
    assert subject_of(context) != shown_first
    first.key.unlink()
    await clock.advance(70, step_s=5)
    assert subject_of(context) != shown_first
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
