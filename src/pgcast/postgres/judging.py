"""A filter's question to Postgres, as SQL: the same comparison, over the values that the stream carried.

Our sessions have an empty search_path, in which the operators of an extension's type are not found. Where such a type
also turns into a built-in one by itself (citext into text), the built-in operator would answer, and differently. So a
type's own operator is named together with its schema.

Source: PostgreSQL, chapters "Comparison Functions and Operators", "Pattern Matching" and "Collation Expressions", and
"Operator Type Resolution".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgcast.model.errors import BindingError
from pgcast.postgres.refusals import quote_identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.matching.conditions import Question
    from pgcast.postgres.pool import Pool

_OPERATORS: Final = {
    "eq": "=",
    "neq": "<>",
    "lt": "<",
    "lte": "<=",
    "gt": ">",
    "gte": ">=",
    "in": "=",
    "isdistinct": "=",
    "like": "~~",
    "ilike": "~~*",
    "match": "~",
    "imatch": "~*",
}
_PATTERNS: Final = frozenset({"like", "ilike", "match", "imatch"})

# A type by its OID, or what it is a domain over: a domain over an enum has no operators. And if that has the operator
# itself, in which schema, and what stands to the right of it: a pattern may be a text.
_TYPE: Final = """
    WITH RECURSIVE under (oid, base, namespace, kind) AS (
        SELECT oid, typbasetype, typnamespace, typtype FROM pg_type WHERE oid = $1::oid
        UNION ALL
        SELECT t.oid, t.typbasetype, t.typnamespace, t.typtype FROM under JOIN pg_type t ON t.oid = under.base
    )
    SELECT n.nspname, t.typname, own.operator_schema, own.right_schema, own.right_name
    FROM under
    JOIN pg_type t ON t.oid = under.oid
    JOIN pg_namespace n ON n.oid = t.typnamespace
    LEFT JOIN LATERAL (
        SELECT ons.nspname AS operator_schema, rns.nspname AS right_schema, r.typname AS right_name
        FROM pg_operator o
        JOIN pg_namespace ons ON ons.oid = o.oprnamespace AND ons.nspname <> 'pg_catalog'
        JOIN pg_type r ON r.oid = o.oprright
        JOIN pg_namespace rns ON rns.oid = r.typnamespace
        WHERE o.oprname = $2 AND o.oprleft = under.oid
            AND (o.oprright = under.oid OR ($3::boolean AND o.oprright = 'pg_catalog.text'::regtype))
        ORDER BY o.oprright = under.oid, o.oprnamespace <> under.namespace, o.oid LIMIT 1
    ) own ON true
    WHERE under.kind <> 'd'
"""


async def judge(pool: Pool, question: Question, values: Sequence[bytes | None]) -> list[bool | None]:
    """Return, for each value, what the comparison gives.

    Raises:
        BindingError: The type does not exist any more, or a value is not UTF-8.
        psycopg.Error: Postgres refused the comparison, or one of the values.
        DatabaseError: The database could not be asked.
    """
    try:
        texts = [None if value is None else value.decode() for value in values]
    except UnicodeDecodeError:
        raise BindingError("a value is not UTF-8") from None
    symbol = _OPERATORS[question.operator]
    is_pattern = question.operator in _PATTERNS
    cursor = await pool.ask(_TYPE, [question.type_oid, symbol, is_pattern])
    found = await cursor.fetchone()
    if found is None:
        raise BindingError(f"the type with OID {question.type_oid} does not exist any more")
    schema, name, operator_schema, *right = found
    type_name = _qualified(schema, name)
    operand_type = "pg_catalog.text" if is_pattern else type_name
    if operator_schema is not None:
        symbol = f"OPERATOR({quote_identifier(operator_schema)}.{symbol})"
        operand_type = _qualified(*right)
    collation = "" if question.collation is None else f" COLLATE {question.collation}"
    operands = [f"${number}::{operand_type}" for number in range(2, len(question.operands) + 2)]
    comparison = _comparison(question, f"(value::{type_name}{collation})", symbol, operands)
    cursor = await pool.ask(
        f"SELECT {comparison}"  # noqa: S608 - quoted names, and our own operators
        " FROM unnest($1::text[]) WITH ORDINALITY given (value, place) ORDER BY place",
        [texts, *question.operands],
    )
    return [answer for (answer,) in await cursor.fetchall()]


def _comparison(question: Question, value: str, symbol: str, operands: Sequence[str]) -> str:
    """Return the comparison as SQL; `in` and `isdistinct` spelled out, for SQL's words look for an `=` themselves."""
    comparisons = [f"{value} {symbol} {operand}" for operand in operands]
    if question.operator == "in":
        return f"({' OR '.join(comparisons)})" if operands else "false"
    if question.operator == "isdistinct" and question.operands[0] is None:
        return f"value IS NOT NULL OR {operands[0]} IS NOT NULL"
    if question.operator == "isdistinct":
        return f"value IS NULL OR NOT ({comparisons[0]})"
    return comparisons[0]


def _qualified(schema: str, name: str) -> str:
    return f"{quote_identifier(schema)}.{quote_identifier(name)}"
