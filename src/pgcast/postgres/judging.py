"""A filter's question to Postgres, as SQL: the same comparison, over the values that the stream carried.

Source: PostgreSQL, chapters "Comparison Functions and Operators", "Pattern Matching" and "Collation Expressions".
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
    "isdistinct": "IS DISTINCT FROM",
    "like": "LIKE",
    "ilike": "ILIKE",
    "match": "~",
    "imatch": "~*",
}
_PATTERNS: Final = frozenset({"like", "ilike", "match", "imatch"})


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
    cursor = await pool.ask(
        "SELECT n.nspname, t.typname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace"
        " WHERE t.oid = $1::oid",
        [question.type_oid],
    )
    found = await cursor.fetchone()
    if found is None:
        raise BindingError(f"the type with OID {question.type_oid} does not exist any more")
    schema, name = found
    type_name = f"{quote_identifier(schema)}.{quote_identifier(name)}"
    collation = "" if question.collation is None else f" COLLATE {question.collation}"
    operand_type = "text" if question.operator in _PATTERNS else type_name
    operands = [f"${number}::{operand_type}" for number in range(2, len(question.operands) + 2)]
    if question.operator == "in":
        comparison = f"IN ({', '.join(operands)})" if operands else "IS NULL AND false"
    else:
        comparison = f"{_OPERATORS[question.operator]} {operands[0]}"
    cursor = await pool.ask(
        f"SELECT (value::{type_name}{collation}) {comparison}"  # noqa: S608 - quoted names, and our own operators
        " FROM unnest($1::text[]) WITH ORDINALITY given (value, place) ORDER BY place",
        [texts, *question.operands],
    )
    return [answer for (answer,) in await cursor.fetchall()]
