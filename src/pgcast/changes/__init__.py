"""Floor 2: from a row to the JSON that clients read."""
