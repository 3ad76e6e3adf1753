"""Buffers of a client's socket: small and bounded, because a slow reader is served from a ring that is shared."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field

from pgcast.auth.proxies import TrustedProxies


@dataclass(frozen=True, slots=True)
class SocketOptions:
    """How one WebSocket connection behaves.

    Attributes:
        high_bytes: What may wait in the process before the client counts as slow.
        low_bytes: Under this it counts as quick again.
        kernel_bytes: What may wait in the kernel; without a limit it takes 4 MB for each.
        max_frame_bytes: The largest message a client may send.
        idle_s: A client that sends nothing for so long is gone; 0 waits for ever.
        close_s: How long a closing connection may take.
        proxies: Whose X-Forwarded headers are believed.
    """

    high_bytes: int = 256 * 1024
    low_bytes: int = 64 * 1024
    kernel_bytes: int = 128 * 1024
    max_frame_bytes: int = 5_000_000
    idle_s: float = 60.0
    close_s: float = 10.0
    proxies: TrustedProxies = field(default_factory=TrustedProxies)


def bound_kernel_buffer(sock: socket.socket | None, size_bytes: int) -> None:
    """Limit what the kernel buffers for sending; a socket that is not TCP is left alone."""
    if sock is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
        # Linux doubles the value to make room for its own bookkeeping (socket(7), SO_SNDBUF).
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size_bytes // 2)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
