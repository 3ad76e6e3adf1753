"""Whether the database can send broadcasts, and what of `pgcast init --realtime` is missing, as findings.

A database that has none of it is fine: changes need nothing of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pgcast.model.errors import NotPrepared
from pgcast.postgres.findings import Finding, info, ok, warning
from pgcast.postgres.found import ROLES, look
from pgcast.postgres.refusals import quote_identifier
from pgcast.postgres.setup import Wishes, make_plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgcast.postgres.connection import SqlConnection, Target
    from pgcast.postgres.found import Found, FoundMessages

_NAME: Final = "broadcasts from the database"
_PRIVATE: Final = "private channels"

# The original server makes this publication for itself, in databases that it has set up.
_SUPABASE_PUBLICATION: Final = "supabase_realtime_messages_publication"


async def check_messages(connection: SqlConnection, target: Target, publications: Sequence[str]) -> list[Finding]:
    """Return what is amiss with `realtime.messages` and all that goes with it; one finding for each thing missing.

    Args:
        connection: To the database.
        target: The same, for its name.
        publications: The followed publications, unquoted.
    """
    found = await look(connection, target)
    if found.messages is None:
        return [ok(_NAME, "not set up; pgcast init --realtime does it, where they or private channels are wanted")]
    # Without the publications, which have checks of their own, unless one of them is there to be added to.
    existing = tuple(name for name in publications if name in found.publications)
    findings = _unpublished(found, existing)
    try:
        plan = make_plan(found, Wishes(publications=existing, has_realtime=True))
    except NotPrepared as refusal:
        return [*findings, warning(_NAME, refusal.message, hint=refusal.hint)]
    findings += [
        warning(_NAME, f"missing: {step.why}", sql="\n".join(step.statements), hint="or run pgcast init --realtime")
        for step in plan.steps
    ]
    findings += [info(_NAME, note) for note in plan.notes]
    return [
        *(findings or [ok(_NAME, "realtime.messages is published, and all that goes with it is there")]),
        *_server_role(found, found.messages),
        *_roles(found),
    ]


def _unpublished(found: Found, followed: Sequence[str]) -> list[Finding]:
    """Say where a table of somebody else's, which is left alone, is not followed either."""
    if found.messages is None or found.messages.is_ours:
        return []
    publishing = [
        name
        for name, one in found.publications.items()
        if one.has_all_tables
        or any(schema == "realtime" and table.startswith("messages") for schema, table in one.tables)
    ]
    if any(name in followed for name in publishing):
        return []
    if publishing:
        name = _SUPABASE_PUBLICATION if _SUPABASE_PUBLICATION in publishing else publishing[0]
        wanted = ",".join([*followed, name])
        return [warning(_NAME, "realtime.messages is published, but not followed", hint=f"set PUBLICATIONS={wanted}")]
    sql = f"ALTER PUBLICATION {quote_identifier(followed[0])} ADD TABLE realtime.messages;" if followed else ""
    return [warning(_NAME, "realtime.messages is in no publication", sql=sql, hint="as the table's owner")]


def _server_role(found: Found, messages: FoundMessages) -> list[Finding]:
    """Say where the server can neither ask the policies nor read past them."""
    role = quote_identifier(found.role)
    findings = []
    if not messages.is_usable:
        sql = f"GRANT USAGE ON SCHEMA realtime TO {role};\nGRANT SELECT, INSERT ON realtime.messages TO {role};"
        message = f"role {role} may not read and write realtime.messages: no private channel can be joined"
        findings.append(warning(_PRIVATE, message, sql=sql, hint="as the table's owner"))
    if messages.is_secured:
        message = (
            f"the policies of realtime.messages apply to role {role}, too: it can neither ask them for clients, who are"
            " then refused, nor replay what is stored"
        )
        hint = f"as a superuser; or let it have the owner's rights: ALTER TABLE realtime.messages OWNER TO {role};"
        findings.append(warning(_PRIVATE, message, sql=f"ALTER ROLE {role} BYPASSRLS;", hint=hint))
    return findings


def _roles(found: Found) -> list[Finding]:
    foreign = [role for role in ROLES if role in found.roles and role not in found.memberships]
    if found.is_superuser or not foreign:
        return []
    return [
        warning(
            _PRIVATE,
            f"role {quote_identifier(found.role)} may not act as {', '.join(foreign)}, and so not ask their policies",
            sql=f"GRANT {', '.join(foreign)} TO {quote_identifier(found.role)};",
        )
    ]
