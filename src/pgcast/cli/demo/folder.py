"""A folder of somebody's own in place of the sample: `init.sql` makes the database, the other files are the page.

Without an `index.html` the page is the inspector, as for the sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import psycopg
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from pgcast.model.errors import PgcastError
from pgcast.web.inspector.routes import inspector_routes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from starlette.responses import Response
    from starlette.routing import BaseRoute
    from starlette.types import Scope

INIT: Final = "init.sql"
PAGE: Final = "index.html"


def check_folder(folder: Path) -> None:
    """See whether a folder has what a demo needs.

    Raises:
        PgcastError: There is no `init.sql`.
    """
    if not (folder / INIT).is_file():
        raise PgcastError(f"{folder} has no {INIT}", hint="it makes the tables, and the publication supabase_realtime")


def run_init(connection: psycopg.Connection, folder: Path) -> None:
    """Run the folder's SQL.

    Raises:
        PgcastError: Postgres refuses it, or it cannot be read.
    """
    try:
        # Bytes: Postgres judges the text, whatever it is.
        connection.execute((folder / INIT).read_bytes(), prepare=False)
    except psycopg.Error as error:
        raise PgcastError(f"{folder / INIT}: {str(error).partition(chr(10))[0]}") from None
    except OSError as error:
        raise PgcastError(f"cannot read {folder / INIT}: {error.strerror}") from None


def folder_routes(folder: Path) -> Sequence[BaseRoute]:
    """Return the routes that serve the folder's files at `/`, read anew for each request; the inspector's without."""
    if not (folder / PAGE).is_file():
        return inspector_routes()
    return [Mount("/", _Files(directory=folder, html=True))]


class _Files(StaticFiles):
    """Files that a browser asks for again each time, so that a changed one is seen at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response
