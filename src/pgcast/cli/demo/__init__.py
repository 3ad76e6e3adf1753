"""`pgcast demo`: an embedded Postgres, sample tables, traffic, the server, and a page to watch it all."""

from pgcast.cli.demo.command import demo

__all__ = ["demo"]
