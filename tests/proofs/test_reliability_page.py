"""docs/reliability.md against the tree: every fault has its line, and every test that a line names is there."""

import re
from pathlib import Path

FAULTS = range(1, 54)
LINE = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)


def lines(root: Path) -> dict[int, str]:
    page = (root / "docs" / "reliability.md").read_text("utf-8")
    return {int(number): shown for number, _, shown in LINE.findall(page.split("## Faults")[1])}


def test_every_fault_has_its_line(root: Path) -> None:
    assert list(lines(root)) == list(FAULTS)


def test_every_test_that_a_line_names_is_in_the_tree(root: Path) -> None:
    there = {
        name
        for path in (root / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text("utf-8"), re.MULTILINE)
    }
    named = {name for shown in lines(root).values() for name in re.findall(r"`(test_\w+)`", shown)}
    assert len(named) > 50
    assert named - there == set()


def test_a_test_named_after_a_fault_is_named_in_its_line(root: Path) -> None:
    for path in (root / "tests").rglob("test_*.py"):
        for name, number in re.findall(r"^def (test_fault_(\d+)_\w+)", path.read_text("utf-8"), re.MULTILINE):
            assert f"`{name}`" in lines(root)[int(number)]
