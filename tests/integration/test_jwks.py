"""A key set over HTTP: from a server on loopback that answers as a test wants."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator, Callable

import pytest

from pgcast.jwks import MAX_BYTES, UrlKeySource
from pgcast.model.errors import KeySetUnavailable, SettingsError

KEYS = b'{"keys":[]}'


class Site:
    """Answers each request with the next of some raw responses, the last one again and again."""

    def __init__(self) -> None:
        self.responses: list[bytes] = []
        self.requests: list[str] = []
        self.delay_s = 0.0
        self.port = 0
        self.serving: set[asyncio.Task[None]] = set()

    def url(self, path: str = "/keys") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def answers(self, *contents: bytes, status: str = "200 OK", headers: str = "") -> None:
        self.responses += [
            f"HTTP/1.1 {status}\r\ncontent-length: {len(content)}\r\nconnection: close\r\n{headers}\r\n".encode()
            + content
            for content in contents
        ]

    def redirects(self, *targets: str) -> None:
        for target in targets:
            self.answers(b"", status="302 Found", headers=f"location: {target}\r\n")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (task := asyncio.current_task()) is not None:
            self.serving.add(task)
        head = await reader.readuntil(b"\r\n\r\n")
        self.requests.append(head.split(b" ")[1].decode())
        await asyncio.sleep(self.delay_s)
        writer.write(self.responses.pop(0) if len(self.responses) > 1 else self.responses[0])
        writer.close()
        await writer.wait_closed()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = Site()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await asyncio.gather(*made.serving, return_exceptions=True)


@pytest.fixture
async def source() -> AsyncIterator[Callable[..., UrlKeySource]]:
    made: list[UrlKeySource] = []

    def make(url: str, timeout_s: float = 4.0) -> UrlKeySource:
        made.append(UrlKeySource(url, timeout_s=timeout_s))
        return made[-1]

    yield make
    for one in made:
        await one.close()
        await one.close()


async def test_a_key_set_is_fetched(site: Site, source: Callable[..., UrlKeySource]):
    site.answers(KEYS)
    assert await source(site.url("/keys?tenant=1")).fetch() == KEYS
    assert site.requests == ["/keys?tenant=1"]


async def test_redirects_are_followed_a_few_times(site: Site, source: Callable[..., UrlKeySource]):
    site.redirects("/a", site.url("/b"), "/c")
    site.answers(KEYS)
    assert await source(site.url()).fetch() == KEYS
    assert site.requests == ["/keys", "/a", "/b", "/c"]


async def test_redirects_without_end_are_not(site: Site, source: Callable[..., UrlKeySource]):
    site.redirects("/keys")
    with pytest.raises(KeySetUnavailable, match="more than 3 redirects"):
        await source(site.url()).fetch()
    assert len(site.requests) == 4


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/keys", "gopher://x"])
async def test_redirects_to_anything_but_http_are_refused(site: Site, source: Callable[..., UrlKeySource], target: str):
    site.redirects(target)
    with pytest.raises(KeySetUnavailable, match="which is not followed"):
        await source(site.url()).fetch()


@pytest.mark.parametrize("status", ["404 Not Found", "500 Internal Server Error", "204 No Content"])
async def test_another_answer_is_no_key_set(site: Site, source: Callable[..., UrlKeySource], status: str):
    site.answers(b"" if status.startswith("204") else KEYS, status=status)
    with pytest.raises(KeySetUnavailable, match=f"answers {status[:3]}"):
        await source(site.url()).fetch()


@pytest.mark.parametrize("is_packed", [False, True])
async def test_a_key_set_has_a_limit_also_once_it_is_unpacked(
    site: Site, source: Callable[..., UrlKeySource], *, is_packed: bool
):
    large = b" " * (MAX_BYTES + 1)
    site.answers(
        gzip.compress(large) if is_packed else large, headers="content-encoding: gzip\r\n" if is_packed else ""
    )
    with pytest.raises(KeySetUnavailable, match=f"more than {MAX_BYTES} bytes"):
        await source(site.url()).fetch()


async def test_a_fetch_has_a_deadline(site: Site, source: Callable[..., UrlKeySource]):
    site.answers(KEYS)
    site.delay_s = 0.5
    with pytest.raises(KeySetUnavailable, match=r"no answer within 0\.2 s|timed out|ReadTimeout"):
        await source(site.url(), timeout_s=0.2).fetch()


async def test_a_server_that_is_not_there_is_named_without_what_is_secret(
    site: Site, source: Callable[..., UrlKeySource]
):
    url = "http://user:hunter2@127.0.0.1:1/keys?key=hunter2"
    with pytest.raises(KeySetUnavailable, match=r"http://127\.0\.0\.1:1/keys") as caught:
        await source(url).fetch()
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("url", ["ftp://x/keys", "file:///etc/passwd", "x", "", "http://", "https://[::1"])
def test_another_url_is_none(url: str):
    with pytest.raises(SettingsError, match="JWT_JWKS is"):
        UrlKeySource(url)
