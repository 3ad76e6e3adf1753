"""`python -m pgcast` is `pgcast`."""

from pgcast.cli import app

app()
