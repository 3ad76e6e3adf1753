"""Floor 3: the conversation with one client, without a socket."""
