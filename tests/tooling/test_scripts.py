"""The scripts' promises that cost little to try; the whole of them is tried by `scripts/prove fresh`."""

import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def call(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=110)


def test_a_second_set_up_takes_seconds_and_installs_nothing() -> None:
    call("scripts/setup", "check")
    begun = time.monotonic()
    again = call("scripts/setup", "check")
    assert (again.returncode, again.stderr) == (0, "setup: check is ready\n")
    assert time.monotonic() - begun < 5


def test_a_built_page_is_not_built_again(tmp_path: Path) -> None:
    """What the build writes is no reason to build: neither dist nor node_modules counts, a source does."""
    script = (ROOT / "scripts" / "setup").read_text()
    page_hash = script[script.index("page_hash() {") : script.index("install_page_packages()")]

    def hashed() -> str:
        done = subprocess.run(["bash", "-c", f"{page_hash}\npage_hash"], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout

    for folder in ("src", "dist", "node_modules"):
        (tmp_path / "hub" / "web" / folder).mkdir(parents=True)
    (tmp_path / "hub" / "web" / "src" / "main.ts").write_text("one")
    before = hashed()
    for built in ("dist/index.html", "node_modules/.setup-page"):
        (tmp_path / "hub" / "web" / built).write_text("new")
    assert hashed() == before
    (tmp_path / "hub" / "web" / "src" / "main.ts").write_text("two")
    assert hashed() != before


def test_a_part_that_is_unknown_is_refused_with_those_that_are() -> None:
    done = call("scripts/setup", "everything")
    assert done.returncode == 1
    assert done.stderr == "setup: everything: no such part; write one of demo, check, test, prove\n"


def test_a_proof_that_is_not_built_yet_says_so() -> None:
    done = call("scripts/prove", "field")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("prove: field: not in this version; fresh, ")


def test_every_script_says_in_its_second_line_what_goes_in_and_out() -> None:
    for script in sorted((ROOT / "scripts").iterdir()):
        if script.is_file() and not script.suffix:
            assert " in; " in script.read_text().splitlines()[1], script.name
