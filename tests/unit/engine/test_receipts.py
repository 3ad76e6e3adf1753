"""How far a returning client has received is in test_clients.py; here what a mark belongs to."""

from pgcast.engine.receipts import fingerprint


def test_a_fingerprint_is_the_same_in_every_run_and_tells_texts_apart():
    assert fingerprint("todos") == "6ed232752be926c7"
    assert fingerprint("todos") != fingerprint("todo")
