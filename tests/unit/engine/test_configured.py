from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import structlog.testing

from pgcast.changes.payload import Payloads
from pgcast.engine.configured import Configured
from pgcast.engine.hub import Hub, HubLimits
from pgcast.model.configuration import Configuration
from pgcast.model.errors import SettingsError
from pgcast.model.served import ServedTopics
from pgcast.model.webhook import Webhook

HOOK = Webhook("webhooks[0]", None, None, None, None, "https://hooks.example/")
NOTHING_SERVED = ServedTopics(())


class Having:
    """Notes which webhooks are to be had, and refuses what a test says."""

    def __init__(self) -> None:
        self.had: list[Sequence[Webhook]] = []
        self.refusal: SettingsError | None = None

    async def __call__(self, webhooks: Sequence[Webhook]) -> None:
        if self.refusal is not None:
            raise self.refusal
        self.had.append(webhooks)


@contextlib.asynccontextmanager
async def reloaded(configured: Configured, says: str) -> AsyncIterator[None]:
    """Run, reload once, and wait until that is said."""
    with structlog.testing.capture_logs() as said:
        task = asyncio.create_task(configured.run())
        configured.reload()
        async with asyncio.timeout(5):
            while not any(says in line["event"] for line in said):  # noqa: ASYNC110 - a log is nobody's event
                await asyncio.sleep(0.001)
        yield
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_configuration_is_put_in_force_as_a_whole():
    hub, having = Hub(Payloads(), HubLimits()), Having()
    await Configured(hub, having, None).put(Configuration((HOOK,), NOTHING_SERVED))
    assert having.had == [(HOOK,)]
    assert hub.served == NOTHING_SERVED


async def test_what_is_read_again_replaces_it():
    hub, having = Hub(Payloads(), HubLimits()), Having()
    configured = Configured(hub, having, lambda: Configuration((HOOK,), NOTHING_SERVED))
    async with reloaded(configured, "the configuration was read again"):
        assert having.had == [(HOOK,)]
        assert hub.served == NOTHING_SERVED


async def test_a_mistake_leaves_the_former_one_in_force():
    hub, having = Hub(Payloads(), HubLimits()), Having()
    having.refusal = SettingsError("CONFIGURATION_FILE: webhooks[0].filter: wrong")
    async with reloaded(Configured(hub, having, lambda: Configuration((), NOTHING_SERVED)), "is refused"):
        assert hub.served == ServedTopics()

    def unreadable() -> Configuration:
        raise SettingsError("CONFIGURATION_FILE: not JSON")

    having.refusal = None
    async with reloaded(Configured(hub, having, unreadable), "is refused"):
        assert having.had == []


async def test_a_fault_of_ours_is_not_the_end_of_reloading():
    hub, having = Hub(Payloads(), HubLimits()), Having()
    readings = [0]

    def fail_once() -> Configuration:
        readings[0] += 1
        if readings[0] == 1:
            raise UnicodeError("nobody thought of that")
        return Configuration((HOOK,))

    configured = Configured(hub, having, fail_once)
    async with reloaded(configured, "the configuration could not be read again"):
        configured.reload()
        async with asyncio.timeout(5):
            while not having.had:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.001)


async def test_without_a_file_there_is_nothing_to_read():
    async with reloaded(Configured(Hub(Payloads(), HubLimits()), Having(), None), "CONFIGURATION_FILE is not set"):
        pass
