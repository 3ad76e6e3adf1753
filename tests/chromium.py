"""A headless Chromium for tests, by the DevTools protocol: open a page, ask it something, take a picture of it.

Source: Chrome DevTools Protocol, domains Target, Page and Runtime.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import re
import shutil
import time
from typing import TYPE_CHECKING, Any, Self

from websockets.asyncio.client import connect

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DEADLINE_S = 30.0


class Chromium:
    """A browser with one page. Use with `async with`.

    Attributes:
        said: What the page said on its console, and the errors that nobody caught.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._session: str | None = None
        self.said: list[str] = []

    async def __aenter__(self) -> Self:
        assert PROGRAM is not None
        # A test machine may run as root in a container: no sandbox, no /dev/shm to speak of.
        self._process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
            *("--remote-debugging-port=0", f"--user-data-dir={self._folder}", "about:blank"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(DEADLINE_S):
            self._socket = await connect(await self._address(), max_size=None, ping_interval=None)
        self._tasks = [asyncio.create_task(self._receive()), asyncio.create_task(self._drain())]
        target = (await self._call("Target.createTarget", url="about:blank"))["targetId"]
        attached = await self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self._call(f"{domain}.enable")
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._process.terminate()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
        await self._socket.close()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def open(self, url: str) -> None:
        await self._call("Page.navigate", url=url)

    async def ask(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = await self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def wait_until(self, expression: str) -> float:
        """Wait until an expression is true; return how many seconds that took."""
        began = time.monotonic()
        while not await self.ask(expression):
            seen = await self.ask("document.body?.innerText")
            assert time.monotonic() < began + DEADLINE_S, f"{expression} is false of {seen!r}; {self.said}"
            await asyncio.sleep(0.02)
        return time.monotonic() - began

    async def picture(self, path: Path) -> None:
        """Save what is to be seen, as PNG."""
        shot = await self._call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(shot["data"]))

    async def _address(self) -> str:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            if found := re.search(rb"DevTools listening on (ws://\S+)", line):
                return found[1].decode()
        raise AssertionError("Chromium did not start")

    async def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        session = {} if self._session is None else {"sessionId": self._session}
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters, **session}))
        async with asyncio.timeout(DEADLINE_S):
            return await answer

    async def _receive(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            if "id" in message:
                assert "error" not in message, message
                self._answers.pop(message["id"]).set_result(message["result"])
            elif message["method"] in {"Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"}:
                self.said.append(json.dumps(message["params"]))

    async def _drain(self) -> None:
        assert self._process.stderr is not None
        while await self._process.stderr.readline():
            pass
