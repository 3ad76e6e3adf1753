from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from pgcast.webhooks.thread import LooseThread


def test_calls_are_made_one_after_the_other():
    seen: list[int] = []
    with LooseThread("loose") as thread:
        futures = [thread.submit(seen.append, number) for number in range(100)]
    assert all(future.done() for future in futures)
    assert seen == list(range(100))


def test_what_a_call_returns_or_raises_is_the_future_s():
    with LooseThread("loose") as thread:
        assert thread.submit(divmod, 7, 2).result(5) == (3, 1)
        assert thread.submit(lambda: threading.current_thread().name).result(5) == "loose"
        with pytest.raises(ZeroDivisionError):
            thread.submit(divmod, 7, 0).result(5)
        assert thread.submit(divmod, 7, 3).result(5) == (2, 1), "the thread goes on"


def test_a_call_that_was_cancelled_is_not_made():
    begin = threading.Event()
    with LooseThread("loose") as thread:
        thread.submit(begin.wait, 5)
        future = thread.submit(pytest.fail, "it was made")
        assert future.cancel()
        begin.set()


def test_after_the_end_nothing_is_taken():
    thread = LooseThread("loose")
    thread.shutdown()
    thread.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="loose makes no more calls"):
        thread.submit(len, "")


def test_a_call_that_hangs_does_not_keep_the_program_from_ending():
    program = (
        "import time\n"
        "from pgcast.webhooks.thread import LooseThread\n"
        "thread = LooseThread('loose')\n"
        "thread.submit(time.sleep, 60)\n"
        "thread.shutdown(wait=False)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=20, check=False).returncode == 0
