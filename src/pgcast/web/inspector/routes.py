"""Serve the inspector: one page that is a client like any other, with nothing loaded from elsewhere."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

if TYPE_CHECKING:
    from starlette.requests import Request

# Said here, because what the system's table of types says differs from machine to machine.
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

_HEADERS = {
    # A newer pgcast on the same port brings a newer page.
    "Cache-Control": "no-cache",
    # The page shows what strangers wrote into a database: whatever that is, it runs nothing and loads nothing.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


def inspector_routes() -> list[Route]:
    """Return the routes: the page at `/`, what it loads below `/inspector/`. The files are read once, here."""
    files = _read_files()

    async def page(request: Request) -> Response:
        del request
        return files["index.html"]

    async def part(request: Request) -> Response:
        name = request.path_params["name"]
        if name not in files:
            raise HTTPException(404)
        return files[name]

    return [Route("/", page), Route("/inspector/{name}", part)]


def _read_files() -> dict[str, Response]:
    folder = resources.files("pgcast.web.inspector")
    found = {}
    for file in folder.iterdir():
        kind = _TYPES.get("." + file.name.rpartition(".")[2])
        if kind is not None:
            found[file.name] = Response(file.read_bytes(), headers={**_HEADERS, "Content-Type": kind})
    return found
