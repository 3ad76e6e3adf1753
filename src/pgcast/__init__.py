"""Change data capture and realtime server for PostgreSQL: the public names.

Each is imported when it is first used, so that a program that only listens loads no web server.
"""

from importlib import import_module as _import
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgcast.api import Change, Changes, Event, PlainChange, SyncChange, SyncChanges, listen, listen_sync
    from pgcast.asgi import MountedServer, mount
    from pgcast.model.errors import BindingError, DatabaseError, GapDetected, PgcastError, SettingsError

__all__ = [
    "BindingError",
    "Change",
    "Changes",
    "DatabaseError",
    "Event",
    "GapDetected",
    "MountedServer",
    "PgcastError",
    "PlainChange",
    "SettingsError",
    "SyncChange",
    "SyncChanges",
    "listen",
    "listen_sync",
    "mount",
]

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """Import a public name."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = "asgi" if "mount" in name.lower() else "model.errors" if name.endswith(("Error", "Detected")) else "api"
        return getattr(_import(f"{__name__}.{home}"), name)

    def __dir__() -> list[str]:
        """Name what is there, loaded or not, so that a shell completes it."""
        return sorted({*globals(), *__all__})
