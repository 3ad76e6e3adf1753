"""How programs use the API, as type checkers see it: `mypy` reads it, nobody runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_type

import pgcast

if TYPE_CHECKING:
    from datetime import datetime


async def listen(dsn: str) -> None:
    async with pgcast.listen(dsn, tables=["public.orders"], events=["INSERT"], slot="worker", ack="manual") as changes:
        assert_type(changes, pgcast.Changes)
        assert_type(changes.slot_created, bool)
        async for change in changes:
            assert_type(change, pgcast.Change)
            assert_type(change.record, dict[str, Any] | None)
            assert_type(change.text("price"), str | None)
            assert_type(change.position, str)
            assert_type(change.transaction_id, int)
            when: datetime = change.commit_timestamp
            del when
            if change.event == "DELETE":
                assert_type(change.old_record, dict[str, Any] | None)
            await change.ack()


def listen_sync(dsn: str) -> None:
    with pgcast.listen_sync(dsn, tables="orders", filter="price=gt.3") as changes:
        assert_type(changes, pgcast.SyncChanges)
        for change in changes:
            assert_type(change, pgcast.SyncChange)
            tell(change)
            change.ack()


def tell(change: pgcast.PlainChange) -> None:
    event: pgcast.Event = change.event
    del event


def mount(app: object) -> None:
    server = pgcast.mount(app, JWT_SECRET="a-secret-of-at-least-32-characters")
    assert_type(server, pgcast.MountedServer)

    @server.on("orders", events=["INSERT"])
    async def notify(change: pgcast.PlainChange) -> None:
        tell(change)

    try:
        pass
    except pgcast.GapDetected as gap:
        assert_type(gap.hint, str)
