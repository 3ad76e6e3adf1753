"""Floor 6, beside the app: changes for Python programs, without a server between."""

from pgcast.api.changes import Change, Event, PlainChange, SyncChange
from pgcast.api.listening import Changes, listen
from pgcast.api.threaded import SyncChanges, listen_sync

__all__ = ["Change", "Changes", "Event", "PlainChange", "SyncChange", "SyncChanges", "listen", "listen_sync"]
