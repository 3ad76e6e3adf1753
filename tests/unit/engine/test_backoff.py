from pgcast.engine.backoff import Backoff


def test_waits_double_up_to_the_longest_and_are_shortened_by_up_to_a_half():
    backoff = Backoff(1.0, 5.0)
    for whole_s in (1.0, 2.0, 4.0, 5.0, 5.0):
        assert whole_s / 2 <= backoff.next_s() <= whole_s


def test_what_worked_begins_again_with_the_shortest_wait():
    backoff = Backoff(1.0, 60.0)
    for _ in range(5):
        backoff.next_s()
    backoff.reset()
    assert backoff.next_s() <= 1.0


def test_no_two_of_many_wait_equally_long():
    assert len({Backoff(1.0, 60.0).next_s() for _ in range(20)}) > 1
