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


def test_messages_are_counted_apart_from_changes():
    progress = Progress()
    progress.begin(Lsn(100))
    assert progress.take_message(Lsn(90), is_transactional=True)
    assert progress.index == 0
    progress.index += 1
    assert progress.take_message(Lsn(95), is_transactional=True)
    progress.commit(Lsn(105))
    assert progress.index == 1


def test_messages_that_come_again_are_no_news():
    progress = Progress()
    progress.begin(Lsn(100))
    progress.take_message(Lsn(90), is_transactional=True)
    progress.break_off()
    progress.begin(Lsn(100))
    assert not progress.take_message(Lsn(90), is_transactional=True)
    assert progress.take_message(Lsn(95), is_transactional=True)
    progress.commit(Lsn(105))
    progress.begin(Lsn(100))
    assert [progress.take_message(Lsn(at), is_transactional=True) for at in (90, 95)] == [False, False]
    progress.begin(Lsn(99))
    assert not progress.take_message(Lsn(80), is_transactional=True)


def test_a_shorter_repeat_does_not_make_the_rest_of_a_transaction_news_again():
    progress = Progress()
    progress.begin(Lsn(100))
    for at in (90, 91, 92):
        progress.take_message(Lsn(at), is_transactional=True)
    progress.break_off()
    progress.begin(Lsn(100))
    progress.take_message(Lsn(90), is_transactional=True)
    progress.break_off()
    progress.begin(Lsn(100))
    assert [progress.take_message(Lsn(at), is_transactional=True) for at in (90, 91, 92, 93)] == [False] * 3 + [True]


def test_messages_outside_of_transactions_are_known_by_their_place():
    progress = Progress()
    assert progress.take_message(Lsn(70), is_transactional=False)
    assert not progress.take_message(Lsn(70), is_transactional=False)
    assert not progress.take_message(Lsn(60), is_transactional=False)
    assert progress.take_message(Lsn(71), is_transactional=False)
    progress.restart()
    assert progress.take_message(Lsn(5), is_transactional=False)
