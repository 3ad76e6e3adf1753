"""A client that says anything, and an owner that decides joins in any order: what must hold whatever happens."""

import json
from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pgcast.channels.channel import State
from pgcast.channels.effects import Ask, Join, Leave, Renew, RoomEffect, Send, Watch
from pgcast.channels.limits import Limits
from pgcast.channels.rights import EVERYTHING, Rights
from pgcast.channels.session import Outcome, Session
from pgcast.frames.codec import serializer_for
from pgcast.frames.websocket import frame_header

# How long an example takes depends on who else uses the machine, and proves nothing.
relaxed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

LIMITS = Limits(max_channels=2, max_bindings=3, max_held=4, max_held_bytes=600, max_join_bytes=400)

READS = Rights(read_broadcasts=True, read_presence=True)

topics = st.sampled_from(["realtime:a", "realtime:b", "realtime:c", "realtime:", "room", "phoenix"])
events = st.sampled_from(
    ["phx_join", "phx_leave", "heartbeat", "access_token", "broadcast", "presence", "phx_reply", "nonsense"]
)
names = st.sampled_from(["*", "public", "todos", "", None, 5])
entries = (
    st.none()
    | st.just("x")
    | st.fixed_dictionaries(
        {},
        optional={
            "event": names,
            "schema": names,
            "table": names,
            "filter": names,
            "select": st.just(["id"]),
            "id": names,
        },
    )
)
configs = st.fixed_dictionaries(
    {},
    optional={
        "broadcast": st.sampled_from([None, {"ack": True}, {"ack": "false"}]),
        "presence": st.sampled_from([None, {"enabled": True}, {"enabled": False}, {"key": "k"}]),
        "postgres_changes": st.none() | st.lists(entries, max_size=4),
        "postgres_changes_options": st.sampled_from([None, {"wait": True}, {"wait": True, "timeout": 1}]),
    },
)
presences = st.fixed_dictionaries(
    {"event": st.sampled_from(["track", "untrack", "x", 5])},
    optional={"payload": st.sampled_from([None, {}, {"a": 1}, 5])},
)
payloads = (
    st.none()
    | st.just([])
    | st.just({})
    | st.just({"x": "y" * 400})
    | st.just({"access_token": "t"})
    | presences
    | configs.map(lambda config: {"config": config})
)
messages = st.tuples(st.none() | st.sampled_from(["6", "7"]), topics, events, payloads)
outcomes = st.sampled_from(
    [
        Outcome(),
        Outcome(is_live=False),
        Outcome(error="no such table"),
        Outcome(refusal="Code: text"),
        Outcome(rights=Rights()),
    ]
)
words = st.sampled_from(["gap", "broken", "system_error", "subscribed"])
steps = st.one_of(
    messages.map(lambda message: ("says", message)),
    st.tuples(st.just("decides"), st.tuples(st.integers(0, 5), outcomes)),
    st.tuples(st.just("allows"), st.tuples(st.integers(0, 5), st.booleans())),
    st.tuples(st.just("renews"), st.tuples(st.integers(0, 5), st.sampled_from([None, READS, EVERYTHING]))),
    st.tuples(st.just("tells"), st.tuples(st.integers(0, 5), words)),
    (st.text(max_size=20) | st.binary(max_size=20)).map(lambda noise: ("noise", noise)),
)


class Owner:
    """Performs the effects of a session, and notes what a client would see."""

    def __init__(self, vsn):
        self.vsn = vsn
        self.session = Session(serializer_for(vsn), LIMITS)
        self.undecided = []
        self.asks = []
        self.renewals = []
        self.watching = []
        self.current = []
        self.asked = Counter()  # the refs of all joins, leaves and heartbeats
        self.replied = Counter()
        self.next_ref = 0

    def says(self, message):
        join_ref, topic, event, payload = message
        self.next_ref += 1
        ref = f"{event} {self.next_ref}"
        if event in {"phx_join", "phx_leave", "presence"} or (event == "heartbeat" and topic == "phoenix"):
            self.asked[ref] += 1
        frame = {"topic": topic, "event": event, "payload": payload, "ref": ref, "join_ref": join_ref}
        if self.vsn == "2.0.0":
            frame = [join_ref, ref, topic, event, payload]
        self.perform(self.session.receive_text(json.dumps(frame)))

    def noise(self, noise):
        receive = self.session.receive_text if isinstance(noise, str) else self.session.receive_binary
        self.perform(receive(noise))

    def decides(self, decision):
        place, outcome = decision
        if self.undecided:
            channel = self.undecided.pop(place % len(self.undecided))
            self.perform(self.session.join_decided(channel, outcome))

    def allows(self, answer):
        place, is_allowed = answer
        if self.asks:
            ask = self.asks.pop(place % len(self.asks))
            self.perform(self.session.right_decided(ask.channel, ask.right, is_allowed=is_allowed))

    def renews(self, renewal):
        place, rights = renewal
        if self.renewals:
            self.perform(self.session.renewed(self.renewals.pop(place % len(self.renewals)), rights))

    def tells(self, telling):
        place, word = telling
        if self.current:
            channel = self.current[place % len(self.current)]
            more = {"gap": (None,), "system_error": ("away",)}.get(word, ())
            self.perform(getattr(self.session, word)(channel, *more))

    def perform(self, effects):
        for number, effect in enumerate(effects, start=1):
            if isinstance(effect, Send):
                self.sees(effect.frame)
            elif isinstance(effect, Join):
                assert number == len(effects), "a join is the last of its effects"
                self.undecided.append(effect.channel)
                self.current.append(effect.channel)
            elif isinstance(effect, Ask):
                assert effect.channel in self.current
                self.asks.append(effect)
            elif isinstance(effect, Renew):
                assert number == len(effects), "a new token is the last of its effects"
                assert effect.channel in self.current
                self.renewals.append(effect.channel)
            elif isinstance(effect, RoomEffect):
                assert effect.channel in self.current
                if isinstance(effect, Watch):
                    assert effect.channel not in self.watching, "at most once"
                    self.watching.append(effect.channel)
            else:
                assert isinstance(effect, Leave)
                self.current.remove(effect.channel)
                assert effect.channel.state is State.ENDED
        assert set(self.session.channels) == set(self.current)

    def sees(self, frame):
        text = next(frame[length:] for length in (2, 4, 10) if frame_header(len(frame) - length) == frame[:length])
        message = json.loads(text)
        if self.vsn == "2.0.0":
            _, ref, _, event, payload = message
        else:
            assert list(message) == ["topic", "event", "payload", "ref"]
            ref, event, payload = message["ref"], message["event"], message["payload"]
        assert isinstance(payload, dict)
        if event == "phx_reply":
            assert payload["status"] in {"ok", "error"}
            assert isinstance(payload["response"], dict)
            self.replied[ref] += 1

    def settle(self):
        """Decide what is left, and what comes of it."""
        while self.undecided or self.asks or self.renewals:
            self.decides((0, Outcome()))
            self.allows((0, True))
            self.renews((0, None))


@pytest.mark.parametrize("vsn", ["1.0.0", "2.0.0"])
@relaxed
@given(script=st.lists(steps, max_size=30))
def test_each_join_leave_presence_and_heartbeat_is_answered_once_and_nothing_raises(vsn, script):
    owner = Owner(vsn)
    for act, what in script:
        getattr(owner, act)(what)
    owner.settle()

    assert owner.asked <= owner.replied
    assert set(owner.replied.values()) <= {1}


@relaxed
@given(script=st.lists(steps, max_size=30))
def test_each_join_is_followed_by_one_leave_when_all_is_over(script):
    owner = Owner("2.0.0")
    for act, what in script:
        getattr(owner, act)(what)
    owner.perform(owner.session.close())

    assert owner.current == []
    assert list(owner.session.channels) == []
