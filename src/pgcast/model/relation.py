"""A table: as the WAL announces it (Relation), and with what only the catalog knows (Table).

The stream names columns, their type OIDs and the replica identity; it does not name types reliably, and under FULL it
hides the primary key. So what clients are shown is built from a Table: the announced relation plus the catalog's
answer, matched by OID and column name.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class ReplicaIdentity(Enum):
    """Which old values Postgres writes to the WAL (ALTER TABLE ... REPLICA IDENTITY)."""

    DEFAULT = "d"
    NOTHING = "n"
    FULL = "f"
    INDEX = "i"


class TypeKind(Enum):
    """What a type is made of, as far as its text has to be taken apart to become JSON."""

    SCALAR = "scalar"  # base types, enums, ranges: one text
    ARRAY = "array"  # of `element`
    COMPOSITE = "composite"  # of `fields`
    DOMAIN = "domain"  # over `element`


@dataclass(frozen=True, slots=True)
class Collation:
    """How the text of a column is compared.

    Attributes:
        name: As SQL says it after COLLATE, qualified and quoted.
        is_bytewise: Whether texts are ordered by their UTF-8 bytes: C, POSIX and PostgreSQL's built-in collations.
        is_deterministic: Whether only texts of the same bytes are equal.
        folds_ascii: Whether only the letters A to Z have another case: C and POSIX.
    """

    name: str
    is_bytewise: bool
    is_deterministic: bool
    folds_ascii: bool


@dataclass(frozen=True, slots=True)
class TypeShape:
    """One data type, with the types inside it.

    Attributes:
        oid: The type's OID (`pg_type.oid`).
        name: The catalog's short name, as clients see it: `int4`, `_text`, or a domain's or enum's own name.
        kind: How its text is built.
        element: An array's element type, or a domain's base type; else None.
        fields: A composite's fields in order, `(name, type)`; else empty.
        delimiter: What stands between an array's elements: `,` for all built-in types but box, which has `;`.
        is_enum: Whether it is an enum.
        collation: A column's, where its type has one and it is known; else None.
    """

    oid: int
    name: str
    kind: TypeKind = TypeKind.SCALAR
    element: TypeShape | None = None
    fields: tuple[tuple[str, TypeShape], ...] = ()
    delimiter: str = ","
    is_enum: bool = False
    collation: Collation | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """One column as a Relation message announces it; `is_key` says that it belongs to the replica identity."""

    name: str
    type_oid: int
    type_modifier: int
    is_key: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """One table as a Relation message announces it. Identified by its OID: names may change, and repeat."""

    oid: int
    schema: str
    name: str
    identity: ReplicaIdentity
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A relation, and what the catalog knows about it. Compared by identity: a new announcement is a new Table.

    Attributes:
        relation: As announced.
        types: One for each of the relation's columns, in the same order.
        primary_key: The places (from 0) of the primary key's columns in `relation.columns`, ascending; may be empty.
        has_row_security: Whether row level security is enabled on the table.
        is_internal: Whether its changes are only for those who name it: not for whoever wants a whole schema, or all.
    """

    relation: Relation
    types: tuple[TypeShape, ...]
    primary_key: tuple[int, ...] = ()
    has_row_security: bool = False
    is_internal: bool = False

    @property
    def schema(self) -> str:
        """The schema's name, unquoted."""
        return self.relation.schema

    @property
    def name(self) -> str:
        """The table's name, unquoted."""
        return self.relation.name
