"""What roles may see of tables: privileges on schema, table and columns, and whether row level security applies.

Source: PostgreSQL, chapters "Privileges" and "Row Security Policies", and "System Information Functions" (access
privilege inquiry functions). A policy does not apply to superusers, to roles with BYPASSRLS, and to the table's owner,
or those who have its rights, unless it is forced on them.

A partition of `realtime.messages` comes as that table, so it is judged as that table: nobody has rights on the
partition itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgcast.model.sight import Sight

if TYPE_CHECKING:
    from collections.abc import Collection

    from pgcast.postgres.pool import Pool

# One row for each role that exists, and table, which is judged as itself or as its root; of a role without any table
# one with NULLs. pg_has_role asks for USAGE: MEMBER would also count what a role may only switch to.
_SIGHTS: Final = """
    SELECT r.rolname::text, asked.oid::int8,
        has_schema_privilege(r.oid, n.oid, 'USAGE') AND has_table_privilege(r.oid, c.oid, 'SELECT'),
        ARRAY(SELECT a.attname::text FROM pg_attribute a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              AND has_schema_privilege(r.oid, n.oid, 'USAGE') AND NOT has_table_privilege(r.oid, c.oid, 'SELECT')
              AND has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT')),
        c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls
            AND (c.relforcerowsecurity OR NOT pg_has_role(r.oid, c.relowner, 'USAGE'))
    FROM pg_roles r
    LEFT JOIN (
        (SELECT t.oid, coalesce(root.oid, t.oid) AS judged FROM pg_class t
         LEFT JOIN (pg_inherits h JOIN pg_class root ON root.oid = h.inhparent AND root.relname = 'messages'
                    JOIN pg_namespace s ON s.oid = root.relnamespace AND s.nspname = 'realtime')
         ON h.inhrelid = t.oid WHERE t.oid = ANY ($1::oid[])) asked
        JOIN pg_class c ON c.oid = asked.judged
        JOIN pg_namespace n ON n.oid = c.relnamespace
    ) ON true
    WHERE r.rolname = ANY ($2::text[])
"""

# What decides about privileges and is announced by no table: roles, memberships, the rights on schemas, and those on
# `realtime.messages`, of which the partitions are announced.
_FINGERPRINT: Final = """
    SELECT concat_ws(' ', count(*), sum(hashtext(fact)::int8)) FROM (
        SELECT concat('m', m::text) FROM pg_auth_members m
        UNION ALL SELECT concat_ws(' ', 'r', oid, rolname, rolsuper, rolinherit, rolbypassrls) FROM pg_roles
        UNION ALL SELECT concat_ws(' ', 'n', oid, nspname, nspowner, nspacl) FROM pg_namespace
        UNION ALL SELECT concat_ws(' ', 't', c.oid, c.relowner, c.relacl, c.relrowsecurity, c.relforcerowsecurity,
                                   ARRAY(SELECT concat_ws(' ', a.attnum, a.attacl) FROM pg_attribute a
                                         WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL ORDER BY a.attnum))
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = 'realtime' AND c.relname = 'messages'
    ) facts (fact)
"""


async def sights_of(pool: Pool, oids: Collection[int], roles: Collection[str]) -> dict[str, dict[int, Sight]]:
    """Return what each role may see of each table, by role and table; what does not exist is missing.

    Raises:
        psycopg.Error: Postgres refused the question.
        DatabaseError: The database could not be asked.
    """
    found: dict[str, dict[int, Sight]] = {}
    cursor = await pool.ask(_SIGHTS, [list(oids), list(roles)])
    for role, oid, is_whole, columns, is_secured in await cursor.fetchall():
        tables = found.setdefault(role, {})
        if oid is not None:
            tables[oid] = Sight(None if is_whole else frozenset(columns), is_secured=is_secured)
    return found


async def fingerprint_of_roles(pool: Pool) -> str:
    """Return a text that changes with whatever decides about privileges and is announced by no table.

    Raises:
        psycopg.Error: Postgres refused the question.
        DatabaseError: The database could not be asked.
    """
    cursor = await pool.ask(_FINGERPRINT)
    (fingerprint,), *_ = await cursor.fetchall()
    return str(fingerprint)
