"""One `postgres_changes` entry of a join, checked against the catalog, as what the index takes.

Everything is judged here, once: that the columns are there, that the type has the operator, that the value is one of
the type, and, where only Postgres can compare, that Postgres does not refuse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from pgcast.matching.conditions import PATTERNS, Condition, Junction, conditions_in, question_of
from pgcast.matching.filters import FilterTerm, NoSuchTruth, TooManyItems, parse_filter
from pgcast.matching.index import ROW_KINDS, Entry
from pgcast.matching.likes import like_test
from pgcast.matching.predicates import TEXTS, has_equality, local_canonical_text, resolve
from pgcast.model.errors import BindingError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.engine.ports import PublishedTable, Questions
    from pgcast.matching.conditions import Part, Question
    from pgcast.matching.filters import FilterPart
    from pgcast.model.binding import Binding
    from pgcast.model.relation import TypeShape

_EQUALITIES: Final = frozenset({"eq", "neq", "in", "isdistinct"})
_TEXT_LIKE: Final = TEXTS | {"citext"}
_JSON: Final = frozenset({"json", "jsonb"})
_ARROW: Final = re.compile(r"->>?")
_NUMBER: Final = re.compile(r"-?[0-9]{1,9}", re.ASCII)


async def entry_of(binding: Binding, tables: Sequence[PublishedTable], catalog: Questions) -> Entry:
    """Check a binding, and turn it into an entry.

    Args:
        binding: What the client asks for.
        tables: All that are published.
        catalog: Asked what the tables do not tell.

    Raises:
        BindingError: It cannot be served; the message is what the client is told.
        DatabaseError: The database could not be asked.
    """
    fitting = _fitting(tables, binding.schema, binding.table)
    if binding.table is not None and binding.schema is not None and not fitting:
        raise BindingError(
            "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given "
            f"connect parameters: {_parameters(binding)}"
        )
    try:
        parts = parse_filter(binding.filter) if binding.filter else ()
        checker = _Checker(fitting, catalog)
        conditions = tuple([await checker.part(part) for part in parts])
        _check_select(binding, fitting)
    except (_Refused, TooManyItems, NoSuchTruth) as error:
        raise BindingError(_exception(binding, error.message)) from error
    return Entry(
        binding.id,
        ROW_KINDS if binding.event is None else frozenset({binding.event}),
        binding.schema,
        binding.table,
        conditions,
        binding.select,
        binding.leave,
        checker.asks(conditions),
    )


def has_table(tables: Sequence[PublishedTable], schema: str | None, table: str | None) -> bool:
    """Say whether there is such a table; None stands for any."""
    return bool(_fitting(tables, schema, table))


def blind_spots(entries: Sequence[Entry], tables: Sequence[PublishedTable]) -> str | None:
    """Say where it cannot be told that a row leaves a filter, because an UPDATE does not carry the old values."""
    blind: dict[str, None] = {}
    for entry in entries:
        columns = {condition.column for condition in conditions_in(entry.conditions)} if entry.leave else set()
        for table in _fitting(tables, entry.schema, entry.table):
            unknown = columns & {name for name, _ in table.columns} - table.identity
            if unknown:
                blind[f"{table.schema}.{table.name} ({', '.join(sorted(unknown))})"] = None
    if not blind:
        return None
    return (
        f"`leave` is not told for {', '.join(blind)}: the old values are not in the WAL; run ALTER TABLE ... REPLICA "
        "IDENTITY FULL, or filter by columns of the key"
    )


async def legacy_condition(
    column: str,
    value: str,
    tables: Sequence[PublishedTable],
    place: tuple[str | None, str | None],
    catalog: Questions,
) -> Condition:
    """Return the one condition of a topic of the oldest protocol, `column=eq.value`.

    Raises:
        BindingError: It can never hold.
        DatabaseError: The database could not be asked.
    """
    checker = _Checker(_fitting(tables, *place), catalog)
    condition = Condition(column, "eq", (value,))
    shapes = checker.shapes(column)
    return replace(condition, canonical=await checker.canonical(condition, shapes))


class _Refused(BindingError):
    """What is said of the binding's parameters."""


@dataclass(frozen=True, slots=True)
class _Checker:
    """Checks a filter's parts against the tables that it applies to."""

    tables: Sequence[PublishedTable]
    catalog: Questions

    async def part(self, part: FilterPart) -> Part:
        if isinstance(part, FilterTerm):
            return await self._condition(part)
        parts = tuple([await self.part(inner) for inner in part.parts])
        return Junction(part.is_any, parts, part.is_negated)

    def shapes(self, column: str) -> list[TypeShape]:
        """Return the types of all columns of this name, each once."""
        found = (shape for table in self.tables for name, shape in table.columns if name == column)
        return list(dict.fromkeys(found))

    async def _condition(self, term: FilterTerm) -> Condition:
        condition = self._located(term)
        shapes = list(dict.fromkeys(condition.shape(shape) for shape in self.shapes(condition.column)))
        for shape in shapes:
            _check_operator(condition, shape)
        if condition.operator != "is" and condition.operator not in PATTERNS:
            condition = replace(condition, canonical=await self.canonical(condition, shapes))
        for shape in shapes:
            question = question_of(condition, shape)
            if question is not None:
                await self._try(question)
        return condition

    async def _try(self, question: Question) -> None:
        """Have Postgres make a comparison once, so that one that it refuses is refused here."""
        if any("\0" in operand for operand in question.operands if operand is not None):
            raise _Refused("no value of PostgreSQL's contains a zero byte")
        sample = b"" if question.operator in PATTERNS else (question.operands or (None,))[0]
        try:
            await self.catalog.decide(question, [None, sample.encode() if isinstance(sample, str) else sample])
        except BindingError as error:
            text = error.message
            if question.operator in {"match", "imatch"}:
                reason = text.removeprefix("invalid regular expression: ")
                text = f"invalid regular expression for {question.operator} filter: {reason}"
            raise _Refused(text) from error

    def asks(self, conditions: Sequence[Part]) -> bool:
        """Say whether some condition needs answers of Postgres'."""
        return any(
            question_of(condition, condition.shape(shape)) is not None
            for condition in conditions_in(conditions)
            for shape in self.shapes(condition.column)
        )

    def _located(self, term: FilterTerm) -> Condition:
        """Find the column, whose name may look like a path."""
        if self.shapes(term.column):
            return Condition(term.column, term.operator, term.operands, term.is_negated)
        column, *keys = _ARROW.split(term.column)
        arrows = _ARROW.findall(term.column)
        shapes = [resolve(shape)[0] for shape in self.shapes(column)]
        if not shapes or not arrows or not all(keys) or "->>" in arrows[:-1]:
            raise _Refused(f"invalid column for filter {term.column}")
        for shape in shapes:
            if shape.name not in _JSON:
                raise _Refused(f"a path like {term.column} needs a json or jsonb column, got {shape.name}")
        path = tuple(int(key) if _NUMBER.fullmatch(key) else key for key in keys)
        return Condition(column, term.operator, term.operands, term.is_negated, path, arrows[-1] == "->>")

    async def canonical(
        self, condition: Condition, shapes: Sequence[TypeShape]
    ) -> tuple[tuple[int, tuple[bytes | None, ...]], ...]:
        """Bring the operands to the form in which the stream would carry them, once for each type."""
        by_oid: dict[int, tuple[bytes | None, ...]] = {}
        for shape in shapes:
            if shape.oid not in by_oid:
                by_oid[shape.oid] = tuple([await self._cast(shape, text) for text in condition.operands])
        return tuple(sorted(by_oid.items()))

    async def _cast(self, shape: TypeShape, text: str | None) -> bytes | None:
        if text is None:
            return None
        local = local_canonical_text(shape, text)
        if local is not None:
            return local
        try:
            return await self.catalog.canonical_text(shape, text)
        except BindingError as error:
            raise _Refused(error.message) from error


def _check_operator(condition: Condition, shape: TypeShape) -> None:
    base, _ = resolve(shape)
    operator, word = condition.operator, condition.operands[0] if condition.operands else None
    if operator == "is" and word != "null" and base.name != "bool":
        raise _Refused(f"is {word} filter requires a boolean column, got {shape.name}")
    if operator in PATTERNS:
        if base.name not in _TEXT_LIKE:
            raise _Refused(f"operator {operator} requires a text-compatible column type, got {shape.name}")
        if operator in {"like", "ilike"}:
            try:
                like_test(word or "")
            except BindingError as error:
                raise _Refused(error.message) from error
    if operator in _EQUALITIES and not has_equality(shape):
        raise _Refused(f"operator {operator} does not exist for type {shape.name}")


def _check_select(binding: Binding, tables: Sequence[PublishedTable]) -> None:
    known = {name for table in tables for name, _ in table.columns}
    for name in binding.select:
        if name not in known:
            raise _Refused(f"invalid column for select {name}")


def _fitting(tables: Sequence[PublishedTable], schema: str | None, table: str | None) -> list[PublishedTable]:
    return [known for known in tables if schema in {None, known.schema} and table in {None, known.name}]


def _parameters(binding: Binding) -> str:
    event = "*" if binding.event is None else binding.event.value
    filters = f"[{binding.filter}]" if binding.filter else "[]"
    select = f"[{', '.join(binding.select)}]" if binding.select else "nil"
    return (
        f"[event: {event}, schema: {binding.schema or '*'}, table: {binding.table or '*'}, "
        f"filters: {filters}, select: {select}]"
    )


def _exception(binding: Binding, text: str) -> str:
    return (
        "Unable to subscribe to changes with given parameters. An exception happened so please check your connect "
        f"parameters: {_parameters(binding)}. Exception: {text}"
    )
