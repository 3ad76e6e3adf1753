"""Floor 4: keep all of it running. Reaches the outside only through `ports`."""
