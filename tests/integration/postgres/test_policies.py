from __future__ import annotations

import asyncio
import json

import psycopg
import pytest
from structlog.testing import capture_logs

from pgcast.engine.ports import Asker, Permission
from pgcast.model.errors import PoliciesUnavailable
from pgcast.postgres.connection import parse_target
from pgcast.postgres.policies import PostgresPolicies

ADA = "6f1c0b2e-54a1-4a51-9c39-0e6f0c8f9a11"
EVERYTHING = Permission(broadcast=True, presence=True)
NOTHING = Permission(broadcast=False, presence=False)
BROADCAST = Permission(broadcast=True, presence=False)

pytestmark = pytest.mark.postgres(13, why="the tests make their rows' ids with gen_random_uuid")


@pytest.fixture
async def policies(private):
    made = PostgresPolicies(parse_target(private.dsn))
    yield made
    await made.close()
    await made.close()


def asker(topic="room:1", role="authenticated", headers=None, **claims):
    full = {"role": role, **claims}
    return Asker(role, json.dumps(full), str(claims.get("sub", "")), json.dumps(headers or {}), topic)


def left_behind(database):
    return database.execute("SELECT count(*) FROM realtime.messages")[0][0]


async def test_without_a_policy_nothing_is_allowed(policies):
    assert await policies.may_read(asker()) == NOTHING
    assert await policies.may_write(asker()) == NOTHING


async def test_a_role_that_bypasses_policies_may_do_everything(private, policies):
    assert await policies.may_read(asker(role="service_role")) == EVERYTHING
    assert await policies.may_write(asker(role="service_role")) == EVERYTHING
    assert left_behind(private) == 0


async def test_a_function_that_somebody_put_into_the_search_path_is_not_called(private, policies):
    private.execute("""
        CREATE SEQUENCE calls;
        CREATE FUNCTION unnest(texts text[]) RETURNS SETOF text LANGUAGE sql AS $$
            SELECT nextval('public.calls')::text $$;
        CREATE FUNCTION set_config(name text, value text, is_local boolean) RETURNS text LANGUAGE sql AS $$
            SELECT nextval('public.calls')::text $$
    """)
    await policies.may_read(asker())
    await policies.may_write(asker())

    assert private.execute("SELECT is_called FROM calls") == [(False,)]


async def test_each_right_is_its_own_policy(private, policies):
    private.execute("""
        CREATE POLICY a ON realtime.messages FOR SELECT TO authenticated USING (extension = 'broadcast');
        CREATE POLICY b ON realtime.messages FOR INSERT TO authenticated WITH CHECK (extension = 'presence')
    """)

    assert await policies.may_read(asker()) == Permission(broadcast=True, presence=False)
    assert await policies.may_write(asker()) == Permission(broadcast=False, presence=True)
    assert await policies.may_read(asker(role="anon")) == NOTHING


async def test_a_policy_knows_the_topic_the_user_the_claims_and_the_headers(private, policies):
    private.execute("""
        CREATE POLICY a ON realtime.messages FOR SELECT TO authenticated USING (
            realtime.topic() = 'user:' || (SELECT auth.uid())::text AND topic = realtime.topic()
            AND (SELECT auth.jwt() ->> 'plan') = 'pro' AND current_setting('request.jwt.claim.role') = 'authenticated'
            AND current_setting('request.headers')::json ->> 'x-app' = 'shop')
    """)
    right = {"sub": ADA, "plan": "pro", "headers": {"x-app": "shop"}}

    assert await policies.may_read(asker(f"user:{ADA}", **right)) == EVERYTHING
    assert await policies.may_read(asker("user:another", **right)) == NOTHING
    assert await policies.may_read(asker(f"user:{ADA}", **{**right, "plan": "free"})) == NOTHING
    assert await policies.may_read(asker(f"user:{ADA}", **{**right, "headers": {}})) == NOTHING


async def test_askers_of_one_batch_do_not_see_each_other_s_claims(private, policies):
    private.execute("""
        CREATE POLICY a ON realtime.messages FOR SELECT TO authenticated
        USING (realtime.topic() = 'user:' || (SELECT auth.uid())::text)
    """)
    others = [f"00000000-0000-0000-0000-{number:012}" for number in range(40)]
    mine = [asker(f"user:{one}", sub=one) for one in others]
    theirs = [asker(f"user:{one}", sub=others[number - 1]) for number, one in enumerate(others)]

    answers = await asyncio.gather(*map(policies.may_read, [*mine, *theirs]))

    assert answers == [EVERYTHING] * 40 + [NOTHING] * 40


async def test_a_thousand_joins_share_transactions(private, policies):
    private.execute("""
        CREATE POLICY a ON realtime.messages FOR SELECT TO authenticated USING (topic LIKE 'room:%')
    """)

    answers = await asyncio.gather(*(policies.may_read(asker(f"room:{number}")) for number in range(1000)))

    assert answers == [EVERYTHING] * 1000
    assert policies.asked == 1000
    assert policies.transactions < 100
    assert left_behind(private) == 0


async def test_equal_questions_are_asked_once(private, policies):
    await asyncio.gather(*(policies.may_read(asker()) for _ in range(1000)))

    assert policies.asked == 1


async def test_an_error_in_a_policy_denies_and_stays_with_its_asker(private, policies):
    private.execute("""
        CREATE POLICY a ON realtime.messages FOR SELECT TO authenticated USING (1 / length(realtime.topic()) >= 0
            AND (SELECT auth.uid()) IS DISTINCT FROM NULL::uuid AND topic <> 'x')
    """)

    with capture_logs() as logged:
        answers = await asyncio.gather(
            *(policies.may_read(asker(f"room:{number}", sub=ADA if number % 2 else "secret")) for number in range(20))
        )

    assert answers == [NOTHING, EVERYTHING] * 10
    assert [(line["role"], line["kind"]) for line in logged] == [("authenticated", "InvalidTextRepresentation")]
    assert "secret" not in repr(logged)


@pytest.mark.parametrize("role", ["none", "", "no_such_role", "a\0b", 'x"; DROP TABLE realtime.messages; --'])
async def test_a_role_that_is_none_is_denied(policies, role):
    assert await policies.may_read(asker(role=role)) == NOTHING
    assert await policies.may_write(asker(role=role)) == NOTHING


@pytest.mark.parametrize("topic", ["a\0b", "x" * 100_000, "'; DROP TABLE realtime.messages; --", "🦆", " "])
async def test_an_odd_topic_harms_nobody_else(private, policies, topic):
    private.execute("CREATE POLICY a ON realtime.messages USING (true)")
    odd = topic if len(topic) < 10 else topic.replace("x", "") or "".join(chr(33 + n % 90) for n in range(100_000))

    answers = await asyncio.gather(
        policies.may_read(asker("before")), policies.may_read(asker(odd)), policies.may_read(asker("behind"))
    )

    assert (answers[0], answers[2]) == (EVERYTHING, EVERYTHING)


async def test_a_slow_policy_costs_only_those_it_is_asked_for(private, policies):
    private.execute("""
        CREATE POLICY a ON realtime.messages FOR SELECT TO authenticated
        USING (CASE WHEN topic = 'slow' THEN (SELECT true FROM pg_sleep(30)) ELSE true END)
    """)

    answers = await asyncio.gather(
        *(policies.may_read(asker(topic)) for topic in ("a", "slow", "b", "c")), return_exceptions=True
    )

    assert [answers[0], answers[2], answers[3]] == [EVERYTHING] * 3
    assert isinstance(answers[1], PoliciesUnavailable)
    assert answers[1].reason == "QueryCanceled: canceling statement due to statement timeout"


async def test_without_the_table_it_is_said_what_is_missing(database, roles):
    policies = PostgresPolicies(parse_target(database.dsn))
    with pytest.raises(PoliciesUnavailable, match=r"realtime\.messages|realtime") as caught:
        await policies.may_read(asker())
    assert caught.value.reason.startswith("DatabaseNotPrepared: The table realtime.messages is missing")
    assert "pgcast init" in caught.value.hint
    with pytest.raises(PoliciesUnavailable):
        await policies.may_write(asker(role="service_role"))
    await policies.close()


async def test_without_a_partition_for_today_it_is_said_so(private, policies):
    private.execute("DROP TABLE realtime.messages_all")

    with pytest.raises(PoliciesUnavailable) as caught:
        await policies.may_read(asker())

    assert caught.value.reason == "MissingPartition: Realtime was unable to find the expected messages partition"


async def test_a_connection_that_was_cut_is_replaced(private, policies):
    await policies.may_read(asker())
    private.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        " AND pid <> pg_backend_pid()"
    )

    assert await policies.may_read(asker()) == NOTHING


async def test_who_cannot_be_answered_is_told_within_the_deadline(private):
    policies = PostgresPolicies(parse_target(private.dsn), timeout_s=0.5)
    with psycopg.connect(private.dsn) as other:
        other.execute("LOCK TABLE realtime.messages IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(PoliciesUnavailable):
            await policies.may_read(asker())
    await policies.close()
