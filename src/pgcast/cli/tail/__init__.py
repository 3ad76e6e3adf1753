"""`pgcast tail`: the changes in the terminal, from a temporary slot of its own."""

from pgcast.cli.tail.command import tail

__all__ = ["tail"]
