"""The documentation says what the code says: settings, errors, commands, tasks, examples, links and paths."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer.main

import pgcast
from pgcast.channels import admission, channel, postgres_changes, replies, session
from pgcast.cli import app
from pgcast.cli.variables import default_text
from pgcast.engine import clients
from pgcast.model import errors
from pgcast.settings import IGNORED, Settings, is_secret, variables

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*/*.md")])
EXAMPLES = sorted(folder for folder in (ROOT / "examples").iterdir() if re.match(r"\d\d-", folder.name))
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
TASKS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def read(name: str) -> str:
    return (ROOT / name).read_text()


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def table_rows(text: str) -> list[list[str]]:
    """The cells of all rows of all tables, `\\|` left in place."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def code_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/reference/settings.md"])
def test_every_setting_is_listed_once_with_its_default(page: str):
    text = read(page)
    text = text.partition("## Settings")[2] if page == "README.md" else text.partition("## Differences")[0]
    listed = [row for row in table_rows(text) if re.fullmatch(r"`[A-Z_]+`", row[0])]
    told = [(row[0].strip("`"), row[1].strip("`")) for row in listed]
    assert sorted(told) == sorted((str(field.alias), default_text(field)) for field in Settings.model_fields.values())
    assert all(row[2] for row in listed)


def test_the_readme_lists_settings_in_the_order_of_the_code():
    listed = re.findall(r"^\| `([A-Z_]+)` \|", read("README.md"), re.MULTILINE)
    assert listed == [field.alias for field in Settings.model_fields.values()]


def test_the_variables_without_effect_are_listed_with_the_reason_that_is_logged():
    rows = table_rows(read("docs/reference/settings.md").partition("have no effect")[2])[2:]
    assert {name.strip("`"): why.replace("`", "") for name, why in rows} == IGNORED


def test_every_secret_is_named_where_secrets_in_files_are_explained():
    told = read("docs/reference/settings.md").partition("Secrets in files.")[2].partition(")")[0]
    assert set(re.findall(r"`([A-Z_]+)`", told)) == {
        field.alias for field in Settings.model_fields.values() if is_secret(str(field.alias))
    }


def test_every_variable_that_the_documentation_names_exists():
    known = variables() | {"PGCAST_TEST_", "PGCAST_TEST_POSTGRES", "PGCAST_URL", "PGCAST_KEY"}
    for page in PAGES:
        assert set(re.findall(r"`(PGCAST_[A-Z_]+)[`=]", page.read_text())) <= known, named(page)


def test_every_error_code_is_explained_with_cause_and_cure():
    explained = {row[0].strip("`"): row for row in table_rows(read("docs/reference/errors.md"))}
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, errors.PgcastError):
            assert error.code in explained, error.__name__
            assert all(explained[error.code]), error.code


def test_every_code_that_a_client_is_told_is_explained():
    told = set()
    for module in (admission, channel, postgres_changes, replies, session, clients):
        assert module.__file__ is not None
        told |= set(re.findall(r'"([A-Z][a-z]+[A-Z][A-Za-z]+): ', Path(module.__file__).read_text()))
    assert {"TopicNameRequired", "GapDetected", "ChannelRateLimitReached"} <= told
    explained = {row[0].strip("`") for row in table_rows(read("docs/reference/errors.md"))}
    assert told <= explained


def test_every_public_name_is_on_the_page_of_the_api_and_offered_for_completion():
    named = set(re.findall(r"`(?:async )?(\w+)(?:\([^`]*)?`", read("docs/reference/python.md")))
    headings = set(
        re.findall(r"\w+", " ".join(re.findall(r"^#+ (.*)$", read("docs/reference/python.md"), re.MULTILINE)))
    )
    assert set(pgcast.__all__) <= named | headings
    assert set(pgcast.__all__) <= set(dir(pgcast))


def test_every_command_is_described_with_all_its_options():
    text = read("docs/reference/commands.md")
    sections = dict(re.findall(r"^## pgcast (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert set(sections) == set(COMMANDS)
    for name, command in COMMANDS.items():
        inner = getattr(command, "commands", {}).values()  # of a command that has some of its own
        parameters = [parameter for one in (command, *inner) for parameter in one.params]
        options = {option for parameter in parameters for option in parameter.opts if option.startswith("--")}
        options.discard("--help")
        described = {row[0].strip("`") for row in table_rows(sections[name]) if row[0].startswith("`--")}
        assert described == options, name


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_and_task_that_a_page_names_exists(page: Path):
    text = page.read_text()
    indented = re.findall(r"^ {4}(.*)$", text, re.MULTILINE)
    inline = re.findall(r"`([^`\n]+)`", text)
    lines = [line for block in code_blocks(text, "sh") for line in block.splitlines()]
    for line in [*lines, *indented, *inline]:
        words = re.findall(r"(?:^|\s)(pgcast|make) ([a-z]+)(?=\s|$)", line)
        for program, word in words if _is_command(line) else []:
            assert word in (COMMANDS if program == "pgcast" else TASKS), line


def _is_command(line: str) -> bool:
    """Whether a line begins with one of the two programs, after variables that are set for it."""
    try:
        words = [word for word in shlex.split(line) if not re.fullmatch(r"[A-Z_]+=.*", word)]
    except ValueError:
        return False
    return bool(words) and words[0] in {"pgcast", "make"}


def test_every_task_is_listed_for_contributors():
    listed = set(re.findall(r"^\| `make ([a-z]+)`", read("CONTRIBUTING.md"), re.MULTILINE))
    assert listed == TASKS - {"help"}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.is_file(), target
        assert not anchor or anchor in _anchors(linked), target


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_path_that_a_page_names_exists(page: Path):
    inside = {path.name for path in (ROOT / "src/pgcast").iterdir() if path.is_dir()}
    for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", page.read_text()):
        first = path.split("/")[0]
        if first in inside:
            assert (ROOT / "src/pgcast" / path).exists(), path
        elif (ROOT / first).is_dir():
            assert (ROOT / path).exists(), path


def test_no_page_is_out_of_reach():
    reached, waiting = set(), [ROOT / "README.md", ROOT / "docs/index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)\s#]+\.md)", page.read_text())
        waiting += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert set(PAGES) <= reached


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_page_shows_examples_as_they_are(page: Path):
    shown = re.findall(r"<!-- (examples/\S+) -->\n```\w+\n(.*?)```", page.read_text(), re.DOTALL)
    for name, text in shown:
        assert text == read(name), f"{name} differs"


def test_every_example_that_is_one_file_is_shown():
    shown = {name for page in PAGES for name in re.findall(r"<!-- (examples/\S+) -->", page.read_text())}
    files = [path for path in (ROOT / "examples").rglob("*") if path.suffix in {".py", ".mjs", ".sql"}]
    assert {named(path) for path in files if path.parent not in EXAMPLES} <= shown


@pytest.mark.parametrize("folder", EXAMPLES, ids=named)
def test_every_example_that_is_a_folder_says_how_to_run_it_on_a_database_that_it_makes(folder: Path):
    assert (folder / "init.sql").is_file()
    text = (folder / "README.md").read_text()
    assert code_blocks(text, "sh")
    for name in re.findall(r"[\w-]+\.(?:py|mjs|sql|html|json)\b", text):
        assert (folder / name).exists(), name


def test_every_metric_is_documented():
    sources = [read(f"src/pgcast/{name}/metrics.py") for name in ("engine", "webhooks")]
    made = re.findall(r'(_gauge|_counter|GaugeMetricFamily|CounterMetricFamily)\(\s*"(\w+)"', "\n".join(sources))
    counters = {"_counter", "CounterMetricFamily"}
    names = {f"{name}_total" if kind in counters else name for kind, name in made}
    listed = {row[0].strip("`") for row in table_rows(read("docs/reference/metrics.md"))}
    assert names == listed - {"metric", "---"}
