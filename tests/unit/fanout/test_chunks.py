from pgcast.fanout.chunks import Chunk, Chunks


def test_a_chunk_is_found_by_its_place():
    chunks = Chunks(10_000)
    chunk = Chunk((b"one", b"two"), 7)
    chunks.keep(("group", 5), chunk)
    assert chunks.get(("group", 5)) is chunk
    assert chunks.get(("group", 6)) is None


def test_the_oldest_go_when_there_is_too_much():
    chunks = Chunks(2_500)
    for number in range(3):
        chunks.keep(number, Chunk((b"x" * 500,), number + 1))
    assert [chunks.get(number) is not None for number in range(3)] == [False, True, True]
    chunks.keep(3, Chunk((b"x" * 5_000,), 4))
    assert all(chunks.get(number) is None for number in range(4))
    chunks.keep(4, Chunk((), 5))
    assert chunks.get(4) is not None


def test_a_chunk_takes_the_place_of_one_before_it():
    chunks = Chunks(1_600)
    for _ in range(10):
        chunks.keep(1, Chunk((b"x" * 500,), 2))
    chunks.keep(2, Chunk((), 3))
    assert chunks.get(1) is not None
    assert chunks.get(2) is not None
