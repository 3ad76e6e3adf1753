"""The page that shows what a client of the server receives: a few static files and the routes that serve them."""

from pgcast.web.inspector.routes import inspector_routes

__all__ = ["inspector_routes"]
