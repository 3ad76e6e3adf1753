"""What is asked of Postgres: in batches, each question apart, and remembered."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from pgcast.engine.decisions import Decisions
from pgcast.matching.conditions import PENDING, Question
from pgcast.model.errors import BindingError, DatabaseError

STARTS, ENDS = Question(25, None, "match", ("^m",)), Question(25, None, "match", ("m$",))


class Judge:
    """Decides as Python does; refuses a batch with `bad` in it, and hangs for a question in `stuck`."""

    def __init__(self) -> None:
        self.asked: list[tuple[Question, list[bytes | None]]] = []
        self.stuck: set[Question] = set()
        self.is_away = False

    async def decide(self, question: Question, values: Sequence[bytes | None]) -> Sequence[bool | None]:
        self.asked.append((question, list(values)))
        if self.is_away:
            self.is_away = False
            raise DatabaseError("no answer within 2 s")
        if question in self.stuck:
            await asyncio.Event().wait()
        if b"bad" in values:
            raise BindingError("invalid input")
        return [value is not None and value.startswith(b"m") for value in values]


def make(judge: Judge) -> tuple[Decisions, asyncio.Event]:
    answered = asyncio.Event()
    return Decisions(judge, answered.set), answered  # type: ignore[arg-type]


async def test_answers_come_in_one_batch_and_stay():
    judge = Judge()
    decisions, answered = make(judge)
    assert decisions(STARTS, b"milk") is PENDING
    assert decisions(STARTS, b"tea") is PENDING
    assert decisions(STARTS, b"milk") is PENDING
    await answered.wait()
    assert (decisions(STARTS, b"milk"), decisions(STARTS, b"tea")) == (True, False)
    assert judge.asked == [(STARTS, [b"milk", b"tea"])]


async def test_a_value_that_postgres_refuses_is_unknown_and_the_others_are_answered():
    decisions, answered = make(Judge())
    values = [b"milk", b"bad", b"tea"]
    assert [decisions(STARTS, value) for value in values] == [PENDING] * 3
    await answered.wait()
    assert [decisions(STARTS, value) for value in values] == [True, None, False]


async def test_a_question_that_takes_long_keeps_no_other_waiting():
    judge = Judge()
    judge.stuck.add(ENDS)
    decisions, answered = make(judge)
    assert decisions(ENDS, b"milk") is PENDING
    assert decisions(STARTS, b"milk") is PENDING
    await answered.wait()
    assert decisions(STARTS, b"milk") is True
    assert decisions(ENDS, b"milk") is PENDING
    await decisions.close()
    await decisions.close()


async def test_a_database_that_is_away_is_asked_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pgcast.engine.decisions._RETRY_S", 0)
    judge = Judge()
    judge.is_away = True
    decisions, answered = make(judge)
    while decisions(STARTS, b"milk") is PENDING:
        answered.clear()
        await answered.wait()
    assert len(judge.asked) == 2


async def test_old_answers_are_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("pgcast.engine.decisions._MAX_KEPT", 2)
    decisions, answered = make(Judge())
    for value in (b"1", b"2", b"3", b"4"):
        answered.clear()
        decisions(STARTS, value)
        await answered.wait()
    assert decisions(STARTS, b"4") is False
    assert decisions(STARTS, b"1") is PENDING
    await decisions.close()
