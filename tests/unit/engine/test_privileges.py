from __future__ import annotations

import asyncio

import pytest
from making import INT8, TEXT
from memory_source import MemoryCatalog
from pgoutput import TODOS_OID

from pgcast.engine.ports import PublishedTable
from pgcast.engine.privileges import Narrowed, Privileges
from pgcast.engine.sights import Sights
from pgcast.model.errors import BindingError, ConnectionFailed
from pgcast.model.sight import BLIND, Sight

ID = Sight(frozenset({"id"}))
TODOS = PublishedTable(TODOS_OID, "public", "todos", (("id", INT8), ("title", TEXT)))


class Rig:
    def __init__(self) -> None:
        self.catalog = MemoryCatalog()
        self.catalog.roles = {"anon": {TODOS_OID: ID}, "service": {TODOS_OID: Sight()}}
        self.sights = Sights()
        self.privileges = Privileges(self.catalog, self.sights)


async def test_a_role_sees_its_columns_of_the_published_tables():
    rig = Rig()

    (narrowed,) = await rig.privileges.narrowed("anon", [TODOS])
    (whole,) = await rig.privileges.narrowed("service", [TODOS])

    assert [name for name, _ in narrowed.columns] == ["id"]
    assert whole is TODOS
    assert list(rig.sights.roles) == ["anon", "service"]


async def test_what_is_known_is_not_asked_again_unless_it_must_be_fresh():
    rig = Rig()
    await rig.privileges.narrowed("anon", [TODOS])
    rig.catalog.roles["anon"][TODOS_OID] = Sight()

    (narrowed,) = await rig.privileges.narrowed("anon", [TODOS])
    (fresh,) = await rig.privileges.narrowed("anon", [TODOS], is_fresh=True)

    assert len(narrowed.columns) == 1
    assert fresh is TODOS


async def test_a_role_that_does_not_exist_is_an_error_and_not_kept():
    rig = Rig()
    for _ in range(2):
        with pytest.raises(BindingError, match='role "nobody" does not exist'):
            await rig.privileges.narrowed("nobody", [TODOS])
    together = [rig.privileges.narrowed("nobody", [TODOS]) for _ in range(2)]
    assert {type(one) for one in await asyncio.gather(*together, return_exceptions=True)} == {BindingError}
    assert rig.sights.roles == {}
    assert rig.sights.sight("nobody", TODOS_OID) is None


async def test_a_role_that_was_dropped_sees_nothing_any_more_and_is_still_counted():
    rig = Rig()
    await rig.privileges.narrowed("anon", [TODOS])
    del rig.catalog.roles["anon"]

    with pytest.raises(BindingError):
        await rig.privileges.narrowed("anon", [TODOS], is_fresh=True)

    assert list(rig.sights.roles) == ["anon"]
    assert rig.sights.sight("anon", TODOS_OID) == BLIND


async def test_an_announced_table_is_asked_about_for_all_roles():
    rig = Rig()
    await rig.privileges.announced(TODOS_OID)
    assert rig.sights.sight("anon", TODOS_OID) is None
    await rig.privileges.narrowed("anon", [])
    assert rig.sights.sight("anon", TODOS_OID) == ID
    rig.catalog.roles["anon"][TODOS_OID] = Sight()

    await rig.privileges.announced(TODOS_OID)

    assert rig.sights.sight("anon", TODOS_OID) == Sight()


async def test_a_table_that_is_announced_while_a_role_is_being_asked_about_is_not_forgotten():
    rig = Rig()
    joining = asyncio.create_task(rig.privileges.narrowed("anon", []))
    await asyncio.sleep(0)
    await rig.privileges.announced(TODOS_OID)
    await joining

    assert rig.sights.sight("anon", TODOS_OID) == ID


async def test_everything_is_read_anew_when_the_roles_have_changed_and_not_otherwise():
    rig = Rig()
    await rig.privileges.announced(TODOS_OID)
    await rig.privileges.narrowed("anon", [TODOS])
    await rig.privileges.refresh()
    rig.catalog.roles["anon"][TODOS_OID] = Sight()

    await rig.privileges.refresh()
    assert rig.sights.sight("anon", TODOS_OID) == ID
    rig.catalog.fingerprint = "2"
    await rig.privileges.refresh()
    assert rig.sights.sight("anon", TODOS_OID) == Sight()


async def test_without_roles_the_database_is_not_asked():
    rig = Rig()
    rig.catalog.failure = ConnectionFailed("away")

    await rig.privileges.announced(TODOS_OID)
    await rig.privileges.refresh()


async def test_a_join_asks_as_its_role():
    rig = Rig()

    (table,) = await Narrowed(rig.catalog, rig.privileges, "anon").published_tables()

    assert [name for name, _ in table.columns] == ["id"]
