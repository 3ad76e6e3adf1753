from __future__ import annotations

import os
import sys

from pgcast.devdb import launch
from pgcast.devdb.launch import Account, command_line


def test_the_command_names_the_parent_the_account_the_environment_and_the_program() -> None:
    command = command_line(
        ["/bin/postgres", "-D", "/data"], account=Account(7, 8), environment={"A": "b=c", "D": ""}, death_signal=3
    )
    assert command == [
        *(sys.executable, "-I", "-S", launch.__file__),
        *(str(os.getpid()), "3", "7", "8"),
        *("A=b=c", "D=", "--"),
        *("/bin/postgres", "-D", "/data"),
    ]


def test_without_an_account_nobody_is_changed() -> None:
    command = command_line(["/bin/true"], account=None, environment={})
    assert command[4:] == [str(os.getpid()), "0", "-1", "-1", "--", "/bin/true"]
