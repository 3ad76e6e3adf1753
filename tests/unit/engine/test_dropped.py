"""Messages of clients that are dropped: every one counted, one line a second."""

from __future__ import annotations

import pytest

from pgcast.channels.limits import Limits
from pgcast.channels.session import Outcome, Session
from pgcast.engine.dropped import Dropped
from pgcast.frames.codec import serializer_for


def make_session() -> Session:
    session = Session(serializer_for("2.0.0"), Limits())
    (join,) = session.receive_text('["1","1","realtime:t","phx_join",{"config":{}}]')
    session.join_decided(join.channel, Outcome())  # type: ignore[union-attr]
    return session


def test_both_kinds_are_counted_of_all_sessions():
    dropped = Dropped(lambda: 0)
    for session in (make_session(), make_session()):
        session.receive_text("{")
        session.receive_text('["1","2","realtime:t","nonsense",{}]')
        session.receive_text('["1","3","realtime:t","nonsense",{}]')
        dropped.note(session)
        dropped.note(session)
    assert (dropped.malformed, dropped.unexpected) == (2, 4)


def test_one_line_a_second_says_how_many_there_were(capsys: pytest.CaptureFixture[str]):
    now_s = 100.0
    dropped, session = Dropped(lambda: now_s), make_session()
    for _ in range(5):
        session.receive_text("not JSON, and a secret")
        dropped.note(session)
    now_s += 1
    session.receive_text('["1","2","realtime:t","a secret",{}]')
    dropped.note(session)
    first, second = [line for line in capsys.readouterr().out.splitlines() if "message dropped" in line]
    assert "is not JSON" in first
    assert "dropped=1" in first
    assert "means nothing here" in second
    assert "dropped=5" in second
    assert "a secret" not in first + second
