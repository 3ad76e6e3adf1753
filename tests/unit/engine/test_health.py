from pgcast.engine.health import STALE_S, Health


def test_a_stream_that_was_heard_a_moment_ago_is_ready():
    health = Health(is_streaming=True, heard_at_s=100.0)
    assert health.is_ready(100.0 + STALE_S)
    assert health.why_not(100.0 + STALE_S) == ""


def test_a_silent_stream_is_not_ready_and_says_for_how_long():
    health = Health(is_streaming=True, heard_at_s=100.0)
    assert not health.is_ready(125.0)
    assert health.why_not(125.0) == "the replication stream has been silent for 25 s"


def test_a_stream_that_is_not_read_for_the_sake_of_slow_readers_is_ready():
    health = Health(is_streaming=True, heard_at_s=100.0, held_at_s=124.0)
    assert health.is_ready(125.0)
    assert health.silent_s(125.0) == 1.0
    assert health.why_not(144.0) == "the replication stream has been silent for 20 s"


def test_a_missing_publication_is_not_ready_even_while_the_stream_moves():
    health = Health(is_streaming=True, heard_at_s=100.0, missing=["one", "two"])
    assert not health.is_ready(100.0)
    assert health.why_not(100.0) == "publications do not exist: one, two"


def test_without_a_stream_the_trouble_is_told():
    assert Health().why_not(0.0) == "the replication stream has not been opened yet"
    lost = Health(is_streaming=False, heard_at_s=100.0, trouble="connection refused")
    assert not lost.is_ready(100.0)
    assert lost.why_not(100.0) == "connection refused"
