"""Floor 2: which bindings want a change."""
