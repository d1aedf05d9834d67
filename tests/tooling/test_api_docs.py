"""docs/api.md as a reader runs it: the blocks of a language from top to bottom, what they print beside what the page says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.auth.passwords import Hasher
from hub.auth.tokens import NetworkRole
from tests.hub.face import SITE, Face, migrated, open_face
from tests.servers import absent, program

__all__ = ["migrated"]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "api.md"
BLOCK = re.compile(r"^```(sh|python|r)\n(.*?)^```\n(?:```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
MARK = "---- the end of a block"
SAYS = {"sh": f"echo '{MARK}'\n", "python": f"print('{MARK}', flush=True)\n", "r": f"cat('{MARK}\\n')\n"}
ADA, PASSWORD = "ada@example.org", "green-harmattan-7-dust"
SAMPLES = 30


def blocks(language: str) -> list[tuple[str, str]]:
    """The code of each block of a language, and what the page says it prints."""
    return [(code, printed) for named, code, printed in BLOCK.findall(PAGE.read_text()) if named == language]


@pytest.fixture(scope="module")
def hub(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Face]:
    """A hub with one station and half an hour of samples, and ada, who is an admin of its network."""
    with open_face(migrated, tmp_path_factory.mktemp("hub")) as face:
        face.station("unilag-01", site=SITE, samples=SAMPLES)
        kept = Hasher(memory_kib=8, passes=1).hash(PASSWORD)
        face.person(ADA, networks={1: NetworkRole.ADMIN}, password=kept)
        yield face


def run(command: list[str], language: str, face: Face, **more: str) -> list[str]:
    """What each block printed."""
    script = "".join(f"{code}{SAYS[language]}" for code, _ in blocks(language))
    script = script.replace("export HUB=http://127.0.0.1:8000\n", "")
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    done = subprocess.run(
        command, input=script, env=kept | {"HUB": face.url} | more, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(f"{MARK}\n")[:-1]


def compare(language: str, printed: list[str]) -> None:
    """`...` in the page stands for anything on that line."""
    for (code, told), came in zip(blocks(language), printed, strict=True):
        pattern = ".*".join(re.escape(part) for part in told.strip("\n").split("..."))
        assert re.fullmatch(pattern, came.strip("\n")), f"{code}\nprinted\n{came}\nthe page says\n{told}"


def test_the_page_has_blocks_of_all_three_languages() -> None:
    assert {language: len(blocks(language)) >= 2 for language in SAYS} == dict.fromkeys(SAYS, True)


def test_the_blocks_for_the_shell_print_what_the_page_says(hub: Face) -> None:
    compare("sh", run(["bash", "-eus"], "sh", hub))


def test_the_blocks_in_python_print_what_the_page_says(hub: Face) -> None:
    compare("python", run([sys.executable, "-I", "-"], "python", hub))


def test_the_blocks_in_r_print_what_the_page_says(hub: Face) -> None:
    rscript = program("Rscript")
    known = subprocess.run([rscript, "-e", "library(jsonlite); library(curl)"], capture_output=True, check=False)
    if known.returncode:
        absent("r-cran-jsonlite or r-cran-curl")
    login = hub.http.post("/api/v1/auth/login", json={"email": ADA, "password": PASSWORD}).json()
    asked = {"name": "r", "scopes": ["read"]}
    key = hub.http.post("/api/v1/auth/keys", json=asked, headers={"Authorization": f"Bearer {login['access_token']}"}).json()
    compare("r", run([rscript, "-"], "r", hub, KEY=key["key"]))
