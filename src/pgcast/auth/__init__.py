"""Floor 2: who may connect, as a verified token says."""
