"""What is declared of each behaviour and client: that it works, that it is no feature, or what the client cannot do.

Each row is something that an application sees. `says` is its text in the documentation; `but` are the cells that are
more than a plain yes. Every cell that says yes needs a test that claims it, `@pytest.mark.behaviour("the row's name")`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

from compat.clients import Column

if TYPE_CHECKING:
    from collections.abc import Mapping


class Kind(Enum):
    """How a cell begins."""

    WORKS = "yes"
    NO_FEATURE = "no feature"
    LIMITED = "limited"


@dataclass(frozen=True)
class Cell:
    """What is declared of one behaviour and one client."""

    kind: Kind = Kind.WORKS
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One behaviour."""

    name: str
    says: str
    but: Mapping[Column, Cell] = field(default_factory=dict)

    def cell(self, column: Column) -> Cell:
        return self.but.get(column, Cell())


def works(note: str) -> Cell:
    return Cell(Kind.WORKS, note)


def lacks(note: str) -> Cell:
    return Cell(Kind.NO_FEATURE, note)


def limited(note: str) -> Cell:
    return Cell(Kind.LIMITED, note)


JS_V2, JS_V1, JS_2_15, JS_2_10, JS_1_7, PY_2_34, PY_2_4 = Column
PYTHON = (PY_2_34, PY_2_4)
SINCE_2 = (JS_V2, JS_V1, JS_2_15, JS_2_10, *PYTHON)

NO_CONFIG = lacks("Its joins carry no settings: the topic is all that is asked for.")
NO_PRESENCE = lacks("It has no presence.")
NO_HTTP_SEND = lacks("It has no `httpSend` or `http_send`.")
NO_KEY = lacks("It sends no keys of a binding that it does not know.")
NO_BYTES = lacks("Protocol 1.0.0 cannot express bytes: such a message passes it by.")
NO_BUILDER = lacks("It has no filter builder.")
NO_WAIT = lacks("It has no `postgres_changes_options`.")
AT_A_MEBIBYTE = limited(
    "It closes the connection at 1 MiB, and comes back; if it can resume, the change then comes shortened, and says so."
)
UNTOLD = limited("It does not hand the answer to the application.")
AS_AN_ERROR = works("As an error of the channel.")
ENDS_ITSELF = limited("It then closes the channel itself (`CLOSED`): make a new one.")
NO_CLOSED = works("In a system message: it has no status for the end of a channel.")
NO_TRUNCATE = lacks("Its protocol has no TRUNCATE.")


def but(columns: tuple[Column, ...], cell: Cell) -> dict[Column, Cell]:
    return dict.fromkeys(columns, cell)


OLDEST_HAS_NONE = {JS_1_7: NO_CONFIG}
OLDEST_IS_ABSENT = {JS_1_7: NO_PRESENCE}

MATRIX: Mapping[str, tuple[Row, ...]] = {
    "Connecting": (
        Row("path /socket", "connects to `/socket`"),
        Row("path /realtime/v1", "connects to `/realtime/v1`, the path of supabase-js"),
        Row("valid token", "connects with a valid token"),
        Row(
            "bad token",
            "is told of a bad token",
            {PY_2_34: works("As an exception of `subscribe`."), PY_2_4: works("As an exception of `subscribe`.")},
        ),
        Row("opaque key", "connects with an opaque key, `sb_publishable_...`, and joins with a token"),
        Row("heartbeats", "stays connected over its own heartbeats"),
        Row("killed server", "comes back after the server was killed"),
        Row("restarted server", "comes back after the server was restarted in good order (1012)"),
        Row(
            "resume",
            "with `resume` in its URL gets exactly what came while it was away",
            {
                PY_2_4: limited(
                    "It never sends its `params`; it resumes by its token's `sub`, with `PGCAST_RESUME=identity`."
                )
            },
        ),
        Row(
            "cut while joining",
            "comes back when its connection breaks before its join is answered",
            but((JS_2_15, JS_2_10, JS_1_7), ENDS_ITSELF),
        ),
        Row("transcript", "says and is told what was recorded, byte for byte"),
    ),
    "Joining": (
        Row("topics", "joins topics with slashes, colons, blanks and letters of all kinds", OLDEST_HAS_NONE),
        Row("several channels", "has several channels on one connection; leaves one and joins it again"),
        Row("joined anew", "leaves a channel and joins its topic again at once, without waiting in between"),
        Row(
            "unknown table",
            "is told of a table that does not exist; other channels live",
            {
                PY_2_34: works("As an error of the channel; it joins again until the table exists."),
                JS_1_7: limited("The oldest protocol has no such message: silence until the table exists."),
            },
        ),
        Row(
            "wait",
            "with `wait` is refused until its bindings can be served",
            but((JS_2_15, JS_2_10, JS_1_7, *PYTHON), NO_WAIT),
        ),
    ),
    "Database changes": (
        Row("changes", "INSERT, UPDATE and DELETE with their values"),
        Row("values", "a value of each type"),
        Row(
            "listeners",
            "each listener is called for its event, schema, table and filter, as often as it should be",
            {PY_2_4: limited("It hands each change of a channel to every listener for `*` on that channel.")},
        ),
        Row("truncate", "TRUNCATE", but(SINCE_2, NO_TRUNCATE)),
        Row(
            "filters",
            "all thirteen filter operators, `not.`, lists of conditions",
            {JS_1_7: limited("Its topics have one condition, `column=eq.value`.")},
        ),
        Row("or", "filters with `or=(...)` and `and=(...)`", OLDEST_HAS_NONE),
        Row(
            "filter builder",
            "filters of the package's own builder",
            but((JS_2_15, JS_2_10, JS_1_7, *PYTHON), NO_BUILDER),
        ),
        Row(
            "bad filter",
            "is told of a filter that cannot be served",
            {**OLDEST_HAS_NONE, PY_2_34: AS_AN_ERROR},
        ),
        Row("select", "`select`: only some columns", {**OLDEST_HAS_NONE, PY_2_4: NO_KEY}),
        Row(
            "leave",
            "`leave`: is told of a row that leaves its filter",
            {
                **but(
                    (JS_V2, JS_V1, JS_2_15, JS_2_10), works("As an UPDATE: it hands on the row, not the mark `left`.")
                ),
                **OLDEST_HAS_NONE,
                **but(PYTHON, NO_KEY),
            },
        ),
        Row("since", "`since`: resumes from a time", {**OLDEST_HAS_NONE, **but(PYTHON, NO_KEY)}),
        Row("gap", "is told of a gap, with `GapDetected`"),
        Row("large change", "a change over `MAX_RECORD_BYTES` comes shortened, with an error"),
        Row(
            "change over 1 MiB",
            "a change of more than 1 MiB",
            {
                **but(PYTHON, AT_A_MEBIBYTE),
                JS_1_7: limited("Under Node, as Python's: its WebSocket package closes at 1 MiB."),
            },
        ),
        Row("rights", "the columns that its token's role may select; with a new token, those of the new role"),
    ),
    "Broadcast": (
        Row("every mix", "hears every client of this table, and is heard by each"),
        Row("self", "gets its own messages where it asked for them", OLDEST_HAS_NONE),
        Row("ack", "is told that its message was accepted", {**OLDEST_HAS_NONE, **but(PYTHON, UNTOLD)}),
        Row(
            "oversize",
            "is told that its message was too large; the channel lives",
            {
                **OLDEST_HAS_NONE,
                **but(PYTHON, UNTOLD),
            },
        ),
        Row(
            "bytes",
            "bytes, sent and received",
            but((JS_V1, JS_2_15, JS_2_10, JS_1_7, *PYTHON), NO_BYTES),
        ),
        Row("http", "sends over HTTP without a connection", but((JS_2_15, JS_2_10, JS_1_7, PY_2_4), NO_HTTP_SEND)),
        Row("bytes over http", "sends bytes over HTTP", but((JS_2_15, JS_2_10, JS_1_7, PY_2_4), NO_HTTP_SEND)),
        Row(
            "fallback",
            "`send` on a channel that is not joined goes over HTTP",
            {
                JS_1_7: lacks("It has no `send`."),
                **but(PYTHON, lacks("It raises an exception before the channel is joined.")),
            },
        ),
        Row("database", "public messages from the database: `realtime.send`, `pgcast.send`"),
        Row(
            "database bytes",
            "bytes from the database",
            but((JS_V1, JS_2_15, JS_2_10, JS_1_7, *PYTHON), NO_BYTES),
        ),
        Row("private database", "private messages from the database", OLDEST_HAS_NONE),
        Row("replay", "stored messages, when it joins", OLDEST_HAS_NONE),
    ),
    "Presence": (
        Row("presence", "knows of every other client of this table: who comes, changes and goes", OLDEST_IS_ABSENT),
        Row("presence alone", "gets a state when nobody is there; sees itself come and go", OLDEST_IS_ABSENT),
        Row("presence dies", "one whose connection dies is gone at once", OLDEST_IS_ABSENT),
        Row("presence metas", "several devices share one key", OLDEST_IS_ABSENT),
        Row(
            "presence early",
            "may track before its join is answered",
            {**OLDEST_IS_ABSENT, PY_2_34: lacks("Its `subscribe` waits for the answer.")},
        ),
        Row("presence late", "without listeners for presence, tracks and then has the state", OLDEST_IS_ABSENT),
    ),
    "Authorization": (
        Row("private", "joins a private channel, sends and receives", OLDEST_HAS_NONE),
        Row("private refused", "is told that a private channel is refused", OLDEST_HAS_NONE),
        Row(
            "may not send",
            "is told that it may not send on a private channel that it may read",
            {**OLDEST_HAS_NONE, **but(PYTHON, UNTOLD)},
        ),
        Row(
            "next token",
            "whose token had expired when it came (back) gets in with the next one",
            {PY_2_4: limited("Once a join was refused it does not join again: make a new channel.")},
        ),
        Row("renewed token", "a token that is renewed in time keeps the channel"),
        Row(
            "expired token",
            "a token that expires closes the channel, with the reason",
            {PY_2_34: AS_AN_ERROR, PY_2_4: NO_CLOSED},
        ),
    ),
    "Limits": (
        Row("too many channels", "is told of a channel too many; the others live"),
        Row("too many connections", "is refused while there are too many connections, and gets in later"),
        Row(
            "presence calls",
            "is told of the limit of its presence messages, and the channel is closed",
            {**OLDEST_IS_ABSENT, PY_2_34: AS_AN_ERROR, PY_2_4: NO_CLOSED},
        ),
    ),
}

ROWS = {row.name: row for rows in MATRIX.values() for row in rows}
