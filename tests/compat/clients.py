"""The columns of the table of compatibility: the official clients, each with the serializer that it speaks."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fix_clients import Client


class Column(Enum):
    """A client as the table's head names it."""

    JS_V2 = "realtime-js 2.119.1, `vsn` 2.0.0"
    JS_V1 = "realtime-js 2.119.1, `vsn` 1.0.0"
    JS_2_15 = "realtime-js 2.15.6"
    JS_2_10 = "realtime-js 2.10.7"
    JS_1_7 = "realtime-js 1.7.5"
    PY_2_34 = "Python 2.34.1"
    PY_2_4 = "Python 2.4.3"


_PACKAGES = {
    "realtime-js-2-15-6": Column.JS_2_15,
    "realtime-js-2-10-7": Column.JS_2_10,
    "realtime-js-1-7-5": Column.JS_1_7,
    "realtime-py": Column.PY_2_34,
    "realtime-py-2-4-3": Column.PY_2_4,
}


def column_of(client: Client) -> Column:
    """The column that a client belongs to: supabase-js has realtime-js inside."""
    return _PACKAGES.get(client.package) or (Column.JS_V1 if client.vsn == "1.0.0" else Column.JS_V2)
