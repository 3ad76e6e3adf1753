from __future__ import annotations

import re

import pytest
from starlette.applications import Starlette

from pgcast.web.inspector import inspector_routes

TYPES = {
    "/": "text/html",
    "/inspector/style.css": "text/css",
    "/inspector/app.js": "text/javascript",
    "/inspector/icon.svg": "image/svg+xml",
}


class Answer:
    """What an ASGI application answered."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""


async def get(path: str) -> Answer:
    answer = Answer()

    async def receive():
        return {"type": "http.request"}

    async def send(message):
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    scope = {"type": "http", "method": "GET", "path": path, "root_path": "", "query_string": b"", "headers": []}
    await Starlette(routes=inspector_routes())(scope, receive, send)
    return answer


@pytest.mark.parametrize(("path", "kind"), TYPES.items())
async def test_each_file_has_its_type(path: str, kind: str):
    answer = await get(path)
    assert (answer.status, answer.headers["content-type"].partition(";")[0]) == (200, kind)
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("path", ["/inspector/routes.py", "/inspector/..%2Froutes.py", "/inspector/nothing.js"])
async def test_nothing_else_is_served(path: str):
    assert (await get(path)).status == 404


async def test_whatever_the_page_loads_is_served_and_comes_from_here():
    paths, seen = ["/"], set()
    while paths:
        path = paths.pop()
        seen.add(path)
        answer = await get(path)
        assert answer.status == 200, path
        text = answer.body.decode()
        if path.endswith(".js"):
            named = ["/inspector/" + name for name in re.findall(r'^import .* from "\./(.*)"', text, re.MULTILINE)]
        else:
            named = [] if path.endswith(".svg") else re.findall(r'(?:src|href)="(.*?)"|url\((.*?)\)', text)
            named = [one or other for one, other in named]
        assert all(name.startswith("/inspector/") for name in named), named
        paths += [name for name in named if name not in seen]
    assert {f"/inspector/{name}.js" for name in ("app", "connection", "gauges", "json", "messages", "tables")} < seen


async def test_content_never_becomes_markup():
    for name in ("app", "connection", "gauges", "json", "messages", "tables"):
        text = (await get(f"/inspector/{name}.js")).body.decode()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


async def test_the_policy_lets_nothing_in_from_elsewhere():
    policy = (await get("/")).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
