"""`pgcast explain`: what lets a change through to a client, and what holds it back."""

from pgcast.cli.explain.command import explain

__all__ = ["explain"]
