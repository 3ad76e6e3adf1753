"""Floor 5: webhooks. Changes go into a durable spool for each endpoint, and from there, in order, over HTTP."""
