"""The tree of exceptions that pgcast raises on purpose.

    PgcastError
    ├── SettingsError             a setting is missing, of the wrong type, or contradicts another
    ├── WireError                 bytes that do not follow their format
    │   ├── ReplicationWireError  from Postgres: an envelope or a pgoutput message
    │   └── FrameError            from a client: a message of the realtime protocol
    ├── BindingError              a `postgres_changes` entry that cannot be served
    ├── TokenError                a token that is missing or not to be trusted
    │   └── UnknownKey            it names a key that is not known, yet
    ├── KeySetUnavailable         the keys that verify tokens cannot be fetched
    ├── GapDetected               changes were lost, or are no longer held: read the tables again
    └── DatabaseError             Postgres refused, or could not be reached
        ├── ConnectionFailed      no connection: address, password, pg_hba, TLS, too many connections
        ├── NotPrepared           the database lacks something; the hint says what to run
        ├── PoliciesUnavailable   the policies of private channels cannot be asked
        ├── SlotBusy              another consumer holds the slot (SQLSTATE 55006)
        ├── SlotLost              the slot is missing or was invalidated
        └── StreamEnded           the replication stream ended; reading may be tried again

Every error carries a stable code for programs, one line for people, and a hint that says what would be right.
"""

from __future__ import annotations

from typing import ClassVar


class PgcastError(Exception):
    """Something pgcast can name: what was wrong, where, and what would be right.

    Args:
        message: One line: what was found, and where. Never a payload, a claim, a token or a password.
        hint: What would be right, for example the SQL to run. May be empty.
    """

    code: ClassVar[str] = "Error"
    retryable: ClassVar[bool] = False

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if hint:
            self.add_note(f"fix: {hint}")  # what a traceback shows below the message


class SettingsError(PgcastError):
    """A setting is missing, of the wrong type, or contradicts another."""

    code = "InvalidSetting"


class WireError(PgcastError):
    """Bytes that do not follow their format."""

    code = "MalformedBytes"


class ReplicationWireError(WireError):
    """An envelope or a pgoutput message that does not follow the manual's chapter "Message Formats"."""

    code = "MalformedReplicationMessage"


class FrameError(WireError):
    """A client's message that is no message of the realtime protocol."""

    code = "MalformedFrame"


class BindingError(PgcastError):
    """A `postgres_changes` entry that cannot be served; the message is what the client is told."""

    code = "InvalidBinding"


class TokenError(PgcastError):
    """A token that is missing or not to be trusted.

    `join_code` is the code of a join's error reply (`InvalidJWTToken`, `MalformedJWT`, ...), and differs per instance;
    `told` is what a channel is told, where it is more than a handshake is told.
    """

    code = "InvalidJWTToken"

    def __init__(self, message: str, *, code: str = "InvalidJWTToken", hint: str = "", told: str = "") -> None:
        super().__init__(message, hint=hint)
        self.join_code = code
        self.told = told or message

    @property
    def reason(self) -> str:
        """The reason of a refused join, `Code: text`."""
        return f"{self.join_code}: {self.told}"


class UnknownKey(TokenError):
    """A token names a key that is not known: it may come with the next look at the key set."""

    code = "UnknownSigningKey"


class KeySetUnavailable(PgcastError):
    """The keys that verify tokens cannot be fetched, which will pass."""

    code = "KeySetUnavailable"
    retryable = True

    @property
    def reason(self) -> str:
        """The reason of a refused join, `Code: text`."""
        return f"{self.code}: {self.message}"


class GapDetected(PgcastError):
    """Changes were lost, or are no longer held: whoever follows them has to read the tables again."""

    code = "GapDetected"


class DatabaseError(PgcastError):
    """Postgres refused, or could not be reached."""

    code = "DatabaseError"
    retryable = True


class ConnectionFailed(DatabaseError):
    """No connection: address, password, pg_hba, TLS, or too many connections."""

    code = "ConnectionFailed"


class NotPrepared(DatabaseError):
    """The database lacks something that the hint says how to add."""

    code = "DatabaseNotPrepared"


class PoliciesUnavailable(DatabaseError):
    """The policies of private channels cannot be asked: so nobody knows who may read or write there.

    `reason` is what a refused join says, `Code: text`.
    """

    code = "PoliciesUnavailable"

    def __init__(self, message: str, *, reason: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class SlotBusy(DatabaseError):
    """Another consumer holds the slot (SQLSTATE 55006)."""

    code = "SlotBusy"


class SlotLost(DatabaseError):
    """The slot is missing or was invalidated: changes may be lost, clients must be told."""

    code = "SlotLost"


class StreamEnded(DatabaseError):
    """The replication stream ended; reading may be tried again."""

    code = "StreamEnded"
