from __future__ import annotations

from dataclasses import replace

import pytest
from making import table

from pgcast.engine.sights import NO_KEY, NOT_ALLOWED, Access, Sights, access_to
from pgcast.model.change import Kind
from pgcast.model.sight import BLIND, Sight

TODOS = table()
WHOLE = Sight()
ID = Sight(frozenset({"id"}))
TITLE = Sight(frozenset({"title"}))


@pytest.mark.parametrize(
    ("sight", "access"),
    [
        (WHOLE, Access()),
        (Sight(frozenset({"id", "title", "more"})), Access()),
        (ID, Access(frozenset({"id"}))),
        (TITLE, Access(frozenset({"title"}), NOT_ALLOWED)),
        (Sight(frozenset()), Access(frozenset(), NOT_ALLOWED)),
        (Sight(is_secured=True), Access(is_denied=True)),
        (BLIND, Access(frozenset(), NOT_ALLOWED, is_denied=True)),
    ],
)
def test_what_a_role_sees_decides_what_it_gets(sight: Sight, access: Access):
    assert access_to(TODOS, sight) == access


def test_a_table_without_a_primary_key_is_an_error_for_everybody():
    keyless = replace(TODOS, primary_key=())

    assert access_to(keyless, WHOLE) == Access(None, NO_KEY)
    assert access_to(keyless, ID) == Access(frozenset({"id"}), NO_KEY)


@pytest.mark.parametrize(
    ("sight", "refused", "denied"),
    [
        (WHOLE, "", ""),
        (ID, "", ""),
        (TITLE, "IU", ""),
        (Sight(frozenset()), "IU", "DT"),
        (Sight(is_secured=True), "", "IUDT"),
        (BLIND, "", "IUDT"),
    ],
)
def test_an_error_takes_the_place_of_rows_and_a_delete_needs_a_column(sight: Sight, refused: str, denied: str):
    access = access_to(TODOS, sight)

    assert "".join(kind.value[0] for kind in Kind if access.refuses(kind)) == refused
    assert "".join(kind.value[0] for kind in Kind if access.denies(kind)) == denied


def known(**of_roles: Sight) -> Sights:
    sights = Sights()
    sights.roles = dict.fromkeys(of_roles)
    sights.take(1, [1], of_roles, {role: {1: sight} for role, sight in of_roles.items()})
    return sights


def test_whoever_is_not_known_to_see_everything_does_not():
    judgement = known(anon=ID, service=WHOLE, other=TITLE).judge(TODOS)

    assert judgement.whole == {None, "service"}
    assert judgement.refused == {"other"}
    assert judgement.access(None).is_whole
    assert judgement.access("service").is_whole
    assert judgement.access("anon") == Access(frozenset({"id"}))
    assert judgement.access("nobody").denies(Kind.INSERT)


def test_a_table_that_was_never_asked_about_is_not_seen():
    assert known(service=WHOLE).judge(table(with_oid=2)).whole == {None}


def test_a_judgement_holds_until_something_changes():
    sights = known(anon=WHOLE)
    first = sights.judge(TODOS)
    assert sights.judge(TODOS) is first

    sights.take(2, [1], ["anon"], {"anon": {1: ID}})

    assert sights.judge(TODOS).access("anon") == Access(frozenset({"id"}))


def test_an_answer_that_was_asked_for_earlier_and_comes_later_changes_nothing():
    sights = known(anon=WHOLE)
    sights.take(3, [1], ["anon"], {"anon": {1: ID}})
    sights.take(2, [1], ["anon"], {"anon": {1: WHOLE}})

    assert sights.sight("anon", 1) == ID


def test_what_an_answer_lacks_is_gone():
    sights = known(anon=WHOLE)
    sights.take(2, [1], ["anon"], {})

    assert sights.sight("anon", 1) == BLIND
    assert sights.sight("anon", 2) is None


def test_a_table_that_is_gone_is_forgotten():
    sights = known(anon=WHOLE, service=WHOLE)
    sights.tables[1] = None
    sights.forget_table(1)
    sights.forget_table(1)

    assert sights.tables == {}
    assert sights.sight("anon", 1) is None
