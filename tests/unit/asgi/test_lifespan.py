"""A lifespan with a server in it: started after the application, stopped before it, and never left half-way."""

from __future__ import annotations

from typing import Any

import pytest

from pgcast.asgi.lifespan import Lifespan
from pgcast.model.errors import ConnectionFailed


class Server:
    def __init__(self, noted: list[str], failure: Exception | None = None) -> None:
        self._noted = noted
        self._failure = failure

    async def start(self) -> None:
        if self._failure is not None:
            raise self._failure
        self._noted.append("server up")

    async def stop(self) -> None:
        self._noted.append("server down")


def application(noted: list[str]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "lifespan.startup"
        noted.append("up")
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        noted.append("down")
        await send({"type": "lifespan.shutdown.complete"})

    return app


async def run(app: Any, server: Server) -> list[dict[str, Any]]:
    """Play the ASGI server; return what it was told."""
    events = iter(["lifespan.startup", "lifespan.shutdown"])
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": next(events)}

    async def send(event: dict[str, Any]) -> None:
        said.append(event)

    await Lifespan(app, server).run({"type": "lifespan"}, receive, send)
    return said


async def test_the_server_runs_within_the_application_s_own_life():
    noted: list[str] = []
    said = await run(application(noted), Server(noted))
    assert noted == ["up", "server up", "server down", "down"]
    assert [event["type"] for event in said] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_a_server_that_does_not_start_is_the_reason_and_the_application_ends_well():
    noted: list[str] = []
    failure = ConnectionFailed("nobody there", hint="start Postgres")
    said = await run(application(noted), Server(noted, failure))
    assert said == [{"type": "lifespan.startup.failed", "message": "pgcast: nobody there\n  fix: start Postgres"}]
    assert noted == ["up", "down"]


@pytest.mark.parametrize("reads_first", [False, True])
@pytest.mark.parametrize("raises", [False, True])
async def test_an_application_without_a_lifespan_gets_one(*, reads_first: bool, raises: bool):
    noted: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if reads_first:
            await receive()
        if raises:
            raise ValueError("only http here")

    said = await run(app, Server(noted))
    assert noted == ["server up", "server down"]
    assert [event["type"] for event in said] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


async def test_the_server_s_failure_is_told_also_without_the_application_s_lifespan():
    async def app(scope: Any, receive: Any, send: Any) -> None:
        """Know no lifespan."""

    (answer,) = await run(app, Server([], ConnectionFailed("nobody there")))
    assert answer["type"] == "lifespan.startup.failed"


async def test_an_application_that_fails_later_takes_the_server_down_with_it():
    noted: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await run(app, Server(noted))
    assert noted == ["server up", "server down"]
