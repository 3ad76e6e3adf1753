from __future__ import annotations

import socket

from pgcast.sockets.options import bound_kernel_buffer


def test_a_client_s_kernel_buffer_is_bounded_and_small_messages_leave_at_once():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        bound_kernel_buffer(sock, 128 * 1024)
        # Linux reports twice what was set, which is half of what was asked for; other systems report what was set.
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) <= 128 * 1024
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


def test_a_unix_socket_is_left_alone():
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        before = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        bound_kernel_buffer(sock, 4096)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) == before


def test_a_transport_without_a_socket_is_left_alone():
    bound_kernel_buffer(None, 4096)
