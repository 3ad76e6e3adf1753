from pgcast.model.lsn import NO_LSN, Lsn
from pgcast.wal.progress import Progress


def read(progress: Progress, commit_lsn: int, count: int, *, commits: bool = True) -> list[int]:
    """Take a transaction's changes; return the indices of those that are new."""
    progress.begin(Lsn(commit_lsn))
    taken = []
    for index in range(count):
        if progress.index >= progress.skip:
            taken.append(index)
        progress.index += 1
    if commits:
        progress.commit(Lsn(commit_lsn + 5))
    return taken


def test_changes_are_numbered_within_their_transaction():
    progress = Progress()
    assert read(progress, 100, 3) == [0, 1, 2]
    assert read(progress, 200, 1) == [0]
    assert progress.ended == 205


def test_a_transaction_that_comes_again_is_not_taken_again():
    progress = Progress()
    read(progress, 100, 3)
    read(progress, 200, 1)
    assert read(progress, 100, 3) == []
    assert read(progress, 200, 1) == []
    assert read(progress, 300, 1) == [0]


def test_a_transaction_that_broke_off_goes_on_where_it_was():
    progress = Progress()
    read(progress, 100, 1)
    read(progress, 200, 2, commits=False)
    progress.break_off()
    assert progress.ended == 105
    assert read(progress, 100, 1) == []
    assert read(progress, 200, 1, commits=False) == [], "and again, before the place it had come to"
    progress.break_off()
    assert read(progress, 200, 4) == [2, 3]


def test_a_commit_that_came_before_is_no_news():
    progress = Progress()
    progress.begin(Lsn(100))
    assert progress.commit(Lsn(105))
    progress.begin(Lsn(100))
    assert not progress.commit(Lsn(105))
    assert progress.ended == 105


def test_the_received_position_never_goes_back():
    progress = Progress()
    progress.hear(Lsn(10))
    progress.hear(Lsn(5))
    assert progress.received == 10
    progress.begin(Lsn(100))
    progress.commit(Lsn(105))
    assert progress.received == 105


def test_another_history_begins_at_nothing():
    progress = Progress()
    read(progress, 100, 3)
    progress.restart()
    assert (progress.received, progress.ended) == (NO_LSN, NO_LSN)
    assert read(progress, 50, 1) == [0]


def test_what_is_new_of_an_earlier_transaction_is_numbered_on_from_the_last_change():
    progress = Progress()
    for commit_lsn, changes in ((100, 1), (200, 2)):
        progress.begin(Lsn(commit_lsn))
        progress.index += changes
        progress.commit(Lsn(commit_lsn + 8))
    for _ in range(2):
        progress.begin_again()
        assert progress.commit_lsn == 200
        progress.index += 3
        assert not progress.commit(Lsn(108))
    progress.begin_again()
    assert (progress.commit_lsn, progress.index, progress.skip, progress.ended) == (200, 8, 0, 208)


def test_messages_are_known_by_their_own_place_and_number_nothing():
    progress = Progress()
    progress.begin(Lsn(100))
    assert [progress.take_message(Lsn(at), Lsn(100)) for at in (90, 95, 95, 90, 97)] == [True, True, False, False, True]
    assert progress.index == 0
    progress.commit(Lsn(105))
    assert not progress.take_message(Lsn(97), Lsn(100))
    assert progress.take_message(Lsn(80), Lsn(200)), "a transaction that began earlier commits later"
    assert not progress.take_message(Lsn(99), Lsn(100))


def test_messages_outside_of_transactions_are_known_by_their_place():
    progress = Progress()
    assert [progress.take_message(Lsn(at), None) for at in (70, 70, 60, 71)] == [True, False, False, True]
    assert progress.take_message(Lsn(50), Lsn(60)), "they are counted apart"
    progress.restart()
    assert progress.take_message(Lsn(5), None)
    assert progress.take_message(Lsn(5), Lsn(6))


def test_broadcasts_that_two_histories_share_are_not_news_in_the_second_one():
    progress = Progress()
    for commit_lsn in (100, 200):
        progress.begin(Lsn(commit_lsn))
        assert progress.take_message(Lsn(commit_lsn - 5), Lsn(commit_lsn))
        assert progress.is_news
        progress.index += 2
        progress.commit(Lsn(commit_lsn + 8))
    assert progress.take_message(Lsn(210), None)
    progress.restart(Lsn(150))

    def again(commit_lsn: int) -> tuple[bool, bool]:
        progress.begin(Lsn(commit_lsn))
        found = progress.take_message(Lsn(commit_lsn - 5), Lsn(commit_lsn)), progress.is_news
        progress.index += 1
        progress.commit(Lsn(commit_lsn + 8))
        return found

    assert progress.skip == 0, "changes carry their position"
    assert [again(at) for at in (100, 140, 150, 160)] == [(False, False), (False, False), (True, True), (True, True)]
    assert not progress.take_message(Lsn(149), None)
    assert progress.take_message(Lsn(150), None)


def test_of_what_was_not_taken_over_before_the_histories_part_all_is_news():
    progress = Progress()
    progress.begin(Lsn(100))
    progress.index = 2
    progress.break_off()
    progress.restart(Lsn(150))
    progress.begin(Lsn(100))
    found = []
    for _ in range(4):
        found.append(progress.is_news)
        progress.index += 1
    assert found == [False, False, True, True]
    progress.begin(Lsn(140))
    assert progress.is_news
    progress.restart()
    progress.begin(Lsn(50))
    assert progress.is_news
