"""Data types by OID: from `pg_type` to the shape of their text.

Source: PostgreSQL, chapters "pg_type" and "Composite Types".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pgcast.model.relation import TypeKind, TypeShape

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pgcast.postgres.pool import Pool

# The types asked for and all inside them. What array_out prints is an array, whatever its category says: int2vector and
# oidvector have elements, and print them in their own way. A domain's output function is its base type's.
_QUERY: Final = """
    WITH RECURSIVE needed (oid) AS (
        SELECT unnest($1::oid[])
        UNION
        SELECT inside.oid
        FROM needed
        JOIN pg_type t ON t.oid = needed.oid
        CROSS JOIN LATERAL (
            SELECT t.typelem WHERE t.typtype <> 'd' AND t.typoutput = 'array_out'::regproc
            UNION ALL
            SELECT t.typbasetype WHERE t.typtype = 'd'
            UNION ALL
            SELECT atttypid FROM pg_attribute
            WHERE t.typtype = 'c' AND attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped
        ) inside (oid)
    )
    SELECT t.oid::int8, t.typname,
           CASE WHEN t.typtype = 'd' THEN 'domain' WHEN t.typtype = 'c' THEN 'composite'
                WHEN t.typoutput = 'array_out'::regproc THEN 'array' ELSE 'scalar' END,
           CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.typelem END::int8,
           t.typdelim::text,
           ARRAY(SELECT attname::text FROM pg_attribute
                 WHERE t.typtype = 'c' AND attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped ORDER BY attnum),
           ARRAY(SELECT atttypid::int8 FROM pg_attribute
                 WHERE t.typtype = 'c' AND attrelid = t.typrelid AND attnum > 0 AND NOT attisdropped ORDER BY attnum),
           t.typtype = 'e'
    FROM needed JOIN pg_type t ON t.oid = needed.oid
"""


FIRST_USER_OID: Final = 16384
"""What `initdb` makes has lower OIDs (`FirstNormalObjectId`), and is never altered."""

UNKNOWN: Final = "unknown"
"""The name of a type that does not exist any more."""


@dataclass(frozen=True, slots=True)
class _Row:
    """One row of the answer: a type by itself, with the OIDs of those inside it."""

    name: str
    kind: TypeKind
    inner: int
    delimiter: str
    fields: tuple[tuple[str, int], ...]
    is_enum: bool


async def shapes_of(pool: Pool, oids: Iterable[int]) -> dict[int, TypeShape]:
    """Return the shapes of these types, as they are now; one that does not exist any more is called `unknown`.

    Raises:
        DatabaseError: The database could not be asked.
    """
    wanted = set(oids)
    cursor = await pool.ask(_QUERY, [sorted(wanted)])
    rows = {
        oid: _Row(name, TypeKind(kind), inner, delimiter, tuple(zip(field_names, field_types, strict=True)), is_enum)
        for oid, name, kind, inner, delimiter, field_names, field_types, is_enum in await cursor.fetchall()
    }
    made: dict[int, TypeShape] = {}
    return {oid: _shape(oid, rows, made, outer=frozenset()) for oid in wanted}


def _shape(oid: int, rows: Mapping[int, _Row], made: dict[int, TypeShape], outer: frozenset[int]) -> TypeShape:
    if oid in made:
        return made[oid]
    row = rows.get(oid)
    # Postgres lets no type contain itself; a catalog that says otherwise must not make us run in circles.
    if row is None or oid in outer:
        return TypeShape(oid, UNKNOWN if row is None else row.name)
    around = outer | {oid}
    element, delimiter = None, ","
    if row.kind in {TypeKind.ARRAY, TypeKind.DOMAIN}:
        element = _shape(row.inner, rows, made, around)
    if row.kind is TypeKind.ARRAY and row.inner in rows:
        delimiter = rows[row.inner].delimiter
    fields = tuple((name, _shape(field, rows, made, around)) for name, field in row.fields)
    made[oid] = TypeShape(oid, row.name, row.kind, element, fields, delimiter, row.is_enum)
    return made[oid]
