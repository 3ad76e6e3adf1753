"""What a trusted proxy says about a client, put where an HTTP application looks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from pgcast.auth.proxies import TrustedProxies


class Forwarded:
    """An ASGI application that gives another one the client's own address and scheme in the scope.

    Args:
        app: The other one.
        proxies: Whose headers are believed.
    """

    def __init__(self, app: ASGIApp, proxies: TrustedProxies) -> None:
        self._app = app
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request."""
        client = scope.get("client")
        if scope["type"] == "http" and client is not None:
            headers = scope["headers"]
            origin = self._proxies.origin_of(
                client[0],
                [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"],
                [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-proto"],
            )
            # A port that is not known is 0, as ASGI servers say it.
            port = client[1] if origin.address == client[0] else 0
            scope = {**scope, "client": (origin.address, port), "scheme": origin.scheme or scope["scheme"]}
        await self._app(scope, receive, send)
