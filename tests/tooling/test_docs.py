"""What the documents promise: every path is there, every command is one that runs, every example is one that loads."""

import re
import tomllib
from itertools import chain
from pathlib import Path

import click
import pytest

from adapters.catalogue import Catalogue
from adapters.reference import devices
from edge import config
from edge.config import load, load_network
from hub.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
PLANNED = {
    *("hub/alerts", "hub/export", "hub/ingestion", "hub/models", "hub/sources", "edge/anomaly.py"),
    *("ansible", "systemd", "data/broker"),
}
"""Rooms that a page names for what is not built yet, and what a reader is told to make."""
NAMED = {
    *("paho-mqtt", "pyserial", "pymodbus", "asyncio-mqtt", "sqlite-utils", "tflite-runtime", "aiokafka", "fastapi"),
    *("influxdb-client", "psycopg", "pyjwt", "apprise", "pytest"),
}
SERVICES = {
    "api-gateway": 8000,
    "auth-service": 8001,
    "data-ingestion-service": 8002,
    "model-serving-service": 8003,
    "analytics-service": 8004,
    "notification-service": 8005,
    "sensor-adapter-service": 8006,
    "export-service": 8007,
}


def paths_of(page: Path) -> set[str]:
    """What stands in backticks and looks like a path of this tree, the README's map, and the targets of links."""
    text = page.read_text()
    quoted = set(re.findall(r"`([a-z.][\w.-]*/[\w./-]*)`", text)) | set(re.findall(r"`([\w-]+\.(?:md|toml))`", text))
    mapped = set(re.findall(r"^    ([a-z-]+/) {2,}", text, re.MULTILINE))
    return {path.rstrip("/") for path in quoted | mapped}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    paths = paths_of(page) - PLANNED
    assert [path for path in sorted(paths) if not (ROOT / path).exists() and not (page.parent / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    targets = [target for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()) if "://" not in target]
    assert [target for target in targets if not (page.parent / target).exists()] == []


def commands_of(page: Path) -> list[list[str]]:
    """Indented lines and inline code that call one of our programs."""
    text = page.read_text()
    lines = re.findall(r"^    (\S.*)$", text, re.MULTILINE) + re.findall(r"`([^`]+)`", text)
    calls = [line.split("#")[0].removeprefix(".venv/bin/").split() for line in lines]
    return [call for call in calls if call and call[0] in ("harmattan-edge", "harmattan-hub")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_that_a_page_shows_exists(page: Path) -> None:
    from edge.cli import harmattan_edge
    from hub.cli import program

    for call in commands_of(page):
        command: click.Command = {"harmattan-edge": harmattan_edge, "harmattan-hub": program}[call[0]]
        words = [word.strip(",.") for word in call[1:]]
        while isinstance(command, click.Group) and words and re.fullmatch("[a-z]+", words[0]):
            assert words[0] in command.commands, f"{page.name}: {' '.join(call)}"
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts} | {"--help", "--version"}
        assert {word for word in words if word.startswith("--")} <= known, f"{page.name}: {' '.join(call)}"


def test_every_script_is_named_by_the_readme() -> None:
    scripts = {path.name for path in (ROOT / "scripts").iterdir() if path.is_file() and not path.suffix}
    [row] = re.findall(r"^    scripts/ +(.*)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert set(row.split(", ")) == scripts


def test_ci_runs_the_command_that_the_readme_gives() -> None:
    assert "\n    scripts/test\n" in (ROOT / "README.md").read_text()
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith("exec scripts/test")


def test_the_first_sensor_of_the_readme_is_a_valid_configuration(tmp_path: Path) -> None:
    first, hub = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    file = tmp_path / "gateway.yaml"
    for text in (first, first + hub):
        file.write_text(text)
        assert load(file).gateway == "my-01"


def test_the_examples_of_the_gateway_page_are_valid(tmp_path: Path) -> None:
    gateway, network = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "gateway.md").read_text(), re.DOTALL)
    (tmp_path / "gateway.yaml").write_text(gateway)
    (tmp_path / "network.yaml").write_text(network)
    assert len(load(tmp_path / "gateway.yaml").sensors) == 5
    assert len(load_network(tmp_path / "network.yaml").sensors) == 2


def test_every_key_of_a_configuration_is_described() -> None:
    rows = " ".join(row[0] + row[1] for row in rows_of("docs/gateway.md"))
    keys = [*config.TOP_KEYS, *config.NOT_YET, *config.SENSOR_KEYS]
    assert [key for key in keys if f"`{key}`" not in rows and f"`{key}:" not in rows] == []


def leaves(command: click.Command, words: str) -> list[str]:
    """All commands below one, as they are typed."""
    if not isinstance(command, click.Group):
        return [words]
    return [leaf for name, below in command.commands.items() for leaf in leaves(below, f"{words} {name}")]


@pytest.mark.parametrize("page", ["gateway", "hub"])
def test_every_command_is_described(page: str) -> None:
    from edge.cli import harmattan_edge
    from hub.cli import program

    known = leaves(harmattan_edge, "harmattan-edge") if page == "gateway" else leaves(program, "harmattan-hub")
    text = (ROOT / "docs" / f"{page}.md").read_text()
    assert [command for command in known if f"`{command}" not in text] == []


def test_every_setting_is_described_and_stands_in_the_example_with_its_default() -> None:
    names = [name.upper() for name in Settings.model_fields]
    text = (ROOT / "docs" / "hub.md").read_text()
    assert [name for name in names if f"`{name}`" not in text] == []
    given = dict(re.findall(r"^#([A-Z_]+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
    assert set(given) == set(names)
    made = Settings.model_validate({name.lower(): value for name, value in given.items() if value})
    assert made == Settings.model_validate({})


def test_the_readmes_devices_are_those_that_captures_prove() -> None:
    text = (ROOT / "README.md").read_text()
    assert devices(text, Catalogue.load([])) == text, "run: python -m adapters.reference README.md"


def rows_of(page: str) -> list[list[str]]:
    lines = [line for line in (ROOT / page).read_text().splitlines() if line.startswith("|") and not line.startswith("|---")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_named_package_is_used_or_replaced() -> None:
    rows = {row[0]: row[1:] for row in rows_of("docs/packages.md")[1:]}
    assert set(rows) == NAMED
    assert [name for name, (used, replaced) in rows.items() if not used and not replaced] == []


def test_a_package_that_is_said_to_be_used_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = {**project["project"]["optional-dependencies"], "test": project["dependency-groups"]["test"]}
    declared = [*project["project"]["dependencies"], *chain.from_iterable(groups.values())]
    names = {re.split(r"[\[<>=;]", requirement)[0].lower() for requirement in declared}
    for name, used, _ in rows_of("docs/packages.md")[1:]:
        assert (name in names) == bool(used and not used.startswith("not yet")), name


def test_every_service_of_the_plan_has_its_row() -> None:
    assert {row[0]: int(row[1]) for row in rows_of("docs/services.md") if row[0] in SERVICES} == SERVICES


def test_every_bullet_is_shown_by_a_test_or_is_not_built_yet() -> None:
    rows = [row for row in rows_of("docs/coverage.md") if row[0] != "the plan"]
    assert len(rows) > 60
    assert [row for row in rows if not row[2] and "not yet" not in row[1]] == []


def test_every_decision_has_its_own_number_and_the_same_parts() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert len({page.name[:3] for page in pages}) == len(pages)
    for page in pages:
        for part in ("Objective", "Is", "Is not", "Weighed", "Costs"):
            assert f"**{part}.**" in page.read_text(), f"{page.name} has no {part}"


def test_locks_hold_hashes_and_no_addresses() -> None:
    for lock in sorted((ROOT / "locks").glob("*.lock")):
        text = lock.read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text
    assert '"resolved"' not in (ROOT / "hub" / "web" / "package-lock.json").read_text()
