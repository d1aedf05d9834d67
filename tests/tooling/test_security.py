"""docs/security.md: no requirement of the four chapters is left out, and every test that it names is there."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text("utf-8")
# OWASP ASVS 5.0, V6 to V9: how many requirements of levels 1 and 2 each section has, by the numbers that they have there.
ASKED = {
    "6.1": "123", "6.2": "1 2 3 4 5 6 7 8 9 10 11 12", "6.3": "1234", "6.4": "1234", "6.5": "12345", "6.6": "123", "6.8": "1234",
    "7.1": "123", "7.2": "1234", "7.3": "12", "7.4": "12345", "7.5": "12", "7.6": "12",
    "8.1": "12", "8.2": "123", "8.3": "1", "8.4": "1", "9.1": "123", "9.2": "1234",
}  # fmt: skip
LEVEL_1 = {
    *("6.1.1", "6.2.1", "6.2.2", "6.2.3", "6.2.4", "6.2.5", "6.2.6", "6.2.7", "6.2.8", "6.3.1", "6.3.2", "6.4.1", "6.4.2"),
    *(
        "7.2.1",
        "7.2.2",
        "7.2.3",
        "7.2.4",
        "7.4.1",
        "7.4.2",
        "8.1.1",
        "8.2.1",
        "8.2.2",
        "8.3.1",
        "9.1.1",
        "9.1.2",
        "9.1.3",
        "9.2.1",
    ),
}
ROW = re.compile(r"^\| (\d+\.\d+\.\d+) \| ([123]) \| (.+?) \| (.+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/.-]+\.py)(?:::(\w+))?`")
EXCUSE = re.compile(r"(not met|not applicable): \w.+")


def rows() -> list[tuple[str, str, str, str]]:
    return ROW.findall(PAGE)


@cache
def written_in(path: str) -> frozenset[str]:
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def test_every_requirement_of_levels_1_and_2_has_its_row_in_order() -> None:
    asked = [
        f"{section}.{number}" for section, numbers in ASKED.items() for number in (numbers.split() if " " in numbers else numbers)
    ]
    assert [row[0] for row in rows()] == asked
    assert {row[0] for row in rows() if row[1] == "1"} == LEVEL_1
    assert {row[1] for row in rows()} == {"1", "2"}


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_a_requirement_names_a_test_a_chapter_of_the_page_or_why_not(row: tuple[str, str, str, str]) -> None:
    shown = row[3]
    chapter = re.fullmatch(r"this page: (.+)", shown)
    if chapter is not None:
        assert f"\n## {chapter[1]}\n" in PAGE
    else:
        assert TEST.search(shown) or EXCUSE.fullmatch(shown)


def test_every_test_that_the_page_names_is_there() -> None:
    named = TEST.findall(PAGE)
    assert len(named) > 50
    assert [(path, name) for path, name in named if not (ROOT / path).exists()] == []
    assert [(path, name) for path, name in named if name and name not in written_in(path)] == []
