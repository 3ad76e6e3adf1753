import os

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

import pgcast

seen: list[str] = []


async def tell(_request: Request) -> JSONResponse:
    return JSONResponse(seen)


app = Starlette(routes=[Route("/seen", tell)])
server = pgcast.mount(app, DATABASE_URL=os.environ["DATABASE_URL"], SECURE_CHANNELS="false")


@server.on("todos", events=["INSERT"], filter="done=is.false")
async def note(change: pgcast.PlainChange) -> None:
    if change.record is not None:
        seen.append(change.record["title"])
