"""The house rules that no linter knows: where tests are, how large modules grow, what never gets into a file."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/pgcast"
MODULES = sorted(str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py"))

# Modules without a test module of their own in tests/unit, and where they are tested instead.
TESTED_ELSEWHERE = {
    "api/listening.py": "tests/integration/test_listen.py",
    "api/threaded.py": "tests/integration/test_listen_sync.py",
    "asgi/fast.py": "tests/integration/test_mounted.py",
    "asgi/handlers.py": "tests/integration/test_mounted.py",
    "asgi/mounted.py": "tests/integration/test_mounted.py",
    "asgi/websocket.py": "tests/integration/test_mounted.py",
    "__main__.py": "tests/integration/test_commands.py",
    "cli/serve.py": "tests/integration/test_commands.py",
    "cli/doctor.py": "tests/integration/cli/test_doctor.py",
    "cli/init.py": "tests/integration/cli/test_init.py",
    "cli/demo/command.py": "tests/integration/test_demo.py",
    "cli/demo/folder.py": "tests/integration/test_demo.py",
    "cli/demo/rows.py": "tests/integration/test_demo.py",
    "cli/demo/running.py": "tests/integration/test_demo.py",
    "cli/demo/sample.py": "tests/integration/test_demo.py",
    "cli/explain/asking.py": "tests/integration/test_explain.py",
    "cli/explain/command.py": "tests/integration/test_explain.py",
    "cli/webhooks.py": "tests/integration/webhooks/test_commands.py",
    "cli/tail/command.py": "tests/integration/test_tail.py",
    "cli/tail/following.py": "tests/integration/test_tail.py",
    "devdb/cluster.py": "tests/integration/test_devdb.py",
    "devdb/folder.py": "tests/integration/test_devdb.py",
    "devdb/initdb.py": "tests/integration/test_devdb.py",
    "devdb/template.py": "tests/integration/test_devdb_template.py",
    "jwks.py": "tests/integration/test_jwks.py",
    "postgres/catalog.py": "tests/integration/postgres/test_catalog.py",
    "postgres/collations.py": "tests/integration/postgres/test_catalog.py",
    "postgres/found.py": "tests/integration/cli/test_init.py",
    "postgres/identities.py": "tests/integration/test_filters.py",
    "postgres/judging.py": "tests/integration/test_filters_oracle.py",
    "postgres/checks.py": "tests/integration/postgres/test_checks.py",
    "postgres/copyboth.py": "tests/integration/postgres/test_replication.py",
    "postgres/message_checks.py": "tests/integration/postgres/test_message_checks.py",
    "postgres/messages.py": "tests/integration/postgres/test_messages.py",
    "postgres/observer.py": "tests/faults/test_slot.py",
    "postgres/past.py": "tests/integration/test_explain.py",
    "postgres/policies.py": "tests/integration/postgres/test_policies.py",
    "postgres/pool.py": "tests/integration/postgres/test_catalog.py",
    "postgres/preparation.py": "tests/integration/cli/test_init.py",
    "postgres/privileges.py": "tests/integration/postgres/test_privileges.py",
    "postgres/probes.py": "tests/integration/postgres/test_policies.py",
    "postgres/publications.py": "tests/integration/postgres/test_replication.py",
    "postgres/publishing.py": "tests/integration/test_explain.py",
    "postgres/table_checks.py": "tests/integration/postgres/test_checks.py",
    "postgres/types.py": "tests/integration/postgres/test_catalog.py",
    "webhooks/courier.py": "tests/integration/webhooks/test_delivery.py",
    "webhooks/metrics.py": "tests/integration/webhooks/test_delivery.py",
    "webhooks/store.py": "tests/integration/webhooks/test_troubles.py",
}

# Modules that only say what there is: a Protocol or a dataclass without a line of behaviour.
WITHOUT_BEHAVIOUR = {"engine/ports.py", "model/binding.py"}

# Above 500 lines, and why.
LARGE: dict[str, str] = {
    "settings.py": "every setting once, in one list",
}


def tracked(*suffixes: str) -> list[Path]:
    """The files that git knows, of these suffixes; all if there are none."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    paths = [ROOT / name for name in listed.split("\0") if name]
    return [path for path in paths if path.is_file() and (not suffixes or path.suffix in suffixes)]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def text_of(path: Path) -> str:
    """Empty for a file that is no text."""
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""


@pytest.mark.parametrize("module", [module for module in MODULES if not module.endswith("__init__.py")])
def test_every_module_has_its_test_module(module: str):
    path = Path(module)
    own = ROOT / "tests/unit" / path.parent / f"test_{path.name}"
    if module in WITHOUT_BEHAVIOUR:
        assert not own.exists(), "it has a test module, so take it off the list"
        assert not re.search(r"^ +(return|raise|for|while) |^ {8,}if ", text_of(SOURCE / module), re.MULTILINE)
    elif module in TESTED_ELSEWHERE:
        assert not own.exists(), "it has a test module, so take it off the list"
        assert (ROOT / TESTED_ELSEWHERE[module]).is_file()
    else:
        assert own.is_file(), f"{named(own)} is missing"


def test_the_lists_name_modules_that_exist():
    assert {*TESTED_ELSEWHERE, *WITHOUT_BEHAVIOUR, *LARGE} <= set(MODULES)


def test_every_test_module_tests_a_module():
    unit = ROOT / "tests/unit"
    for path in unit.rglob("test_*.py"):
        tested = SOURCE / path.relative_to(unit).with_name(path.name.removeprefix("test_"))
        assert tested.is_file() or tested.with_suffix("").is_dir(), named(path)


def test_a_package_s_own_module_holds_no_behaviour():
    for module in MODULES:
        # The root's is a table of the public names.
        if module.endswith("__init__.py") and module not in {"cli/__init__.py", "__init__.py"}:
            assert len(text_of(SOURCE / module).splitlines()) <= 20, module


def test_modules_stay_small():
    sizes = {module: len(text_of(SOURCE / module).splitlines()) for module in MODULES}
    assert {module for module, size in sizes.items() if size > 800} == set()
    assert {module for module, size in sizes.items() if size > 500} == set(LARGE)


def test_only_commands_print():
    for module in MODULES:
        if not module.startswith("cli/") and module != "devdb/launch.py":  # run as a program of its own
            assert not re.search(r"^\s*print\(", text_of(SOURCE / module), re.MULTILINE), module


def test_only_the_commands_know_where_the_log_goes():
    for module in MODULES:
        if module not in {"logs.py", "cli/logs.py"}:
            assert "structlog" not in text_of(SOURCE / module), f"{module}: log = get_logger(__name__), of pgcast.logs"


def test_nothing_is_left_to_be_done():
    mark = re.compile(r"\b(TO" + r"DO|FIX" + r"ME)\b")
    assert [named(path) for path in tracked() if mark.search(text_of(path))] == []


def test_no_file_knows_a_registry_or_somebody_s_machine():
    # Split, so that this file does not contain them.
    wrong = re.compile(
        r"/ho" + r"me/(?!me/)\w|/ro" + r"ot/|/Us" + r"ers/\w|/wo" + r"rk/|/py" + r"pi-|index-u" + r"rl|\.jfr" + r"og\."
    )
    assert {named(path): wrong.findall(text_of(path)) for path in tracked() if wrong.search(text_of(path))} == {}


def test_the_lock_files_of_npm_name_no_address():
    for path in tracked(".json"):
        assert '"resolved":' not in text_of(path), named(path)


def test_text_files_end_with_one_newline_and_have_unix_line_ends():
    for path in tracked():
        text = text_of(path)
        assert not text or text.endswith("\n"), named(path)
        assert not text.endswith("\n\n"), named(path)
        assert "\r" not in text, named(path)


def test_the_type_marker_is_there():
    assert (SOURCE / "py.typed").is_file()
