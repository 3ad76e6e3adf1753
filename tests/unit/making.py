"""Short ways to make the values that unit tests are about."""

from __future__ import annotations

from pgcast.model.change import Change, Kind, Transaction
from pgcast.model.lsn import Lsn
from pgcast.model.relation import Column, Relation, ReplicaIdentity, Table, TypeKind, TypeShape

INT8 = TypeShape(20, "int8")
TEXT = TypeShape(25, "text")
NUMERIC = TypeShape(1700, "numeric")


def table(called: str = "todos", /, *, in_schema: str = "public", with_oid: int = 1, **columns: TypeShape) -> Table:
    shapes = columns or {"id": INT8, "title": TEXT}
    relation = Relation(
        with_oid,
        in_schema,
        called,
        ReplicaIdentity.DEFAULT,
        tuple(Column(column, shape.oid, -1, place == 0) for place, (column, shape) in enumerate(shapes.items())),
    )
    return Table(relation, tuple(shapes.values()), (0,))


def transaction(commit_lsn: int, *, xid: int = 0, committed_us: int | None = None) -> Transaction:
    return Transaction(
        xid or commit_lsn,
        Lsn(commit_lsn),
        commit_lsn if committed_us is None else committed_us,
        b"2026-01-02T03:04:05.678Z",
        f"0a0b0c0d-{commit_lsn:016x}-".encode(),
    )


def change(
    of: Transaction,
    index: int = 0,
    *,
    on: Table | None = None,
    kind: Kind = Kind.INSERT,
    values: tuple[object, ...] = (),
) -> Change:
    known = values or (b"1", b"milk")
    old = known if kind in {Kind.UPDATE, Kind.DELETE} else None
    new = known if kind in {Kind.INSERT, Kind.UPDATE} else None
    made = Change(
        on or table(),
        kind,
        b'{"id":1}' if new else None,
        b'{"id":1}' if old else None,
        new,  # type: ignore[arg-type]
        old,  # type: ignore[arg-type]
    )
    made.transaction = of
    made.index = index
    return made


def domain(over: TypeShape, name: str = "my_domain", oid: int = 90_000) -> TypeShape:
    return TypeShape(oid, name, TypeKind.DOMAIN, over)


def array(of: TypeShape, oid: int = 90_001) -> TypeShape:
    return TypeShape(oid, f"_{of.name}", TypeKind.ARRAY, of)
