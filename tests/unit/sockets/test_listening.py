"""The port that is listened on."""

from __future__ import annotations

import contextlib
import resource
import socket

import pytest

from pgcast.model.errors import SettingsError
from pgcast.sockets.listening import listen, raise_file_limit


def test_a_free_port_is_bound_and_accepts():
    with (
        contextlib.closing(listen("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname(), timeout=5),
    ):
        assert not listening.getblocking()


def test_a_port_that_is_taken_is_said():
    with contextlib.closing(listen("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf"cannot listen on 127\.0\.0\.1 port {port}"):
            listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_said():
    with pytest.raises(SettingsError, match=r"cannot listen on 192\.0\.2\.1"):
        listen("192.0.2.1", 0)


def test_as_many_sockets_may_be_open_as_the_system_allows():
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(before[1], 512), before[1]))
        raise_file_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (before[1], before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
