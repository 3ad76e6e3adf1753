from __future__ import annotations

from pgcast.model.lsn import Lsn
from pgcast.wal.messages import Begin, LogicalMessage, Truncate


def test_messages_are_compared_by_value():
    assert Begin(Lsn(1), 2, 3) == Begin(Lsn(1), 2, 3)
    assert Truncate((1,), cascade=True, restart_identity=False) != Truncate((1,), cascade=False, restart_identity=False)


def test_the_content_of_a_logical_message_is_kept_out_of_logs():
    message = LogicalMessage(transactional=True, lsn=Lsn(1), prefix="heartbeat", content=b"a secret")

    assert "secret" not in repr(message)
