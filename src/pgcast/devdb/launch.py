"""Become another account, tie one's life to the parent's, become a program: the last steps before `postgres` runs.

These steps must happen in the child, after the fork. This file is therefore also a script: Python runs it without any
package (`-I -S`, about 15 ms) and it replaces itself by the program. So nothing of ours runs between fork and exec,
where a process with threads may not do much, and the account needs no access to the virtual environment.

The tie is Linux's PR_SET_PDEATHSIG: the kernel sends the signal when the *thread* that started the child ends, in
whatever way, SIGKILL included. Elsewhere there is no tie; what is left then is recognised at the next start.
"""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_PR_SET_PDEATHSIG = 1
_COULD_NOT_START = 126
_END_OF_VARIABLES = "--"


@dataclass(frozen=True, slots=True)
class Account:
    """An account by its numbers."""

    uid: int
    gid: int


def command_line(
    program: Sequence[str],
    *,
    account: Account | None,
    environment: Mapping[str, str],
    death_signal: int = 0,
) -> list[str]:
    """Return the command that starts a program as another account.

    Args:
        program: The program and its arguments.
        account: Who is to run it; None to stay who we are.
        environment: The program's environment, complete. It is not that of this script: PostgreSQL's library path is
            not to decide which libraries Python loads.
        death_signal: The signal that the program gets when the thread that starts it ends; 0 for none.
    """
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    numbers = (os.getpid(), death_signal, uid, gid)
    variables = [f"{name}={value}" for name, value in environment.items()]
    return [sys.executable, "-I", "-S", __file__, *map(str, numbers), *variables, _END_OF_VARIABLES, *program]


def main(arguments: Sequence[str]) -> None:
    """Do it; returns only by an exception.

    Args:
        arguments: The parent's process id, the signal, the user id and group id (-1 to stay), variables as
            `NAME=value`, `--`, the program and its arguments.
    """
    parent, death_signal, uid, gid = map(int, arguments[:4])
    end = arguments.index(_END_OF_VARIABLES)
    environment = dict(variable.split("=", 1) for variable in arguments[4:end])
    program = list(arguments[end + 1 :])
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    # After the change of account, which clears it.
    if death_signal and sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:
            sys.exit(f"the parent {parent} is gone")
    os.execve(program[0], program, environment)  # noqa: S606 - becoming the given program is the purpose


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except OSError as failure:
        print(f"cannot start a program as user {sys.argv[3]}: {failure}", file=sys.stderr)  # noqa: T201 - a script
        sys.exit(_COULD_NOT_START)
