from __future__ import annotations

from fix_clock import Clock
from pgcast.engine.pulse import Pulse


async def test_however_many_want_it_it_is_done_every_few_milliseconds_and_for_the_last_one_too(clock: Clock):
    done_at_s: list[float] = []
    pulse = Pulse(lambda: done_at_s.append(round(clock.now_s - 1000, 3)), 0.005)
    for _ in range(12):
        for _ in range(1000):
            pulse.want()
        await clock.advance(0.001, step_s=0.001)
    await clock.advance(0.02, step_s=0.001)
    assert done_at_s == [0.0, 0.005, 0.01, 0.015]
    pulse.want()
    assert len(done_at_s) == 5, "after a quiet moment at once"
