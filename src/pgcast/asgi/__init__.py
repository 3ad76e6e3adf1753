"""Floor 7: the whole server inside another ASGI application, on its port."""

from pgcast.asgi.fast import FastWebSockets
from pgcast.asgi.mounted import MountedServer, mount

__all__ = ["FastWebSockets", "MountedServer", "mount"]
