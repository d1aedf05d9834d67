"""The demo's children: they live as long as their parent, and one that dies is started again."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.children import Child, Children, Ended, output_of
from tests.servers import wait_until

ROOT = Path(__file__).resolve().parents[2]
SLEEP = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    *(sys.executable, "-c"),
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


def alive(pid: int) -> bool:
    """Runs, and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def children() -> Iterator[Children]:
    made = Children()
    yield made
    made.stop()


def test_a_killed_child_runs_again_within_two_seconds(children: Children, tmp_path: Path) -> None:
    child = children.start(Child("one", SLEEP, tmp_path / "log"))
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    killed = time.monotonic()
    wait_until(lambda: children.tend() == {"one": -signal.SIGKILL}, "the new start", timeout_s=2)
    assert time.monotonic() - killed < 2
    assert children.pids()["one"] != first


def test_a_child_that_ends_before_it_is_of_use_is_quoted(children: Children, tmp_path: Path) -> None:
    child = children.start(Child("hub", ["/bin/sh", "-c", "echo no such database >&2; exit 2"], tmp_path / "log"))
    with pytest.raises(Ended, match="hub ended with 2: no such database"):
        child.wait_until(lambda: False, 10, "no answer")


def test_a_child_that_never_gets_there_is_named(children: Children, tmp_path: Path) -> None:
    child = children.start(Child("hub", SLEEP, tmp_path / "log"))
    with pytest.raises(Ended, match=r"hub: no answer not within 0\.2 s"):
        child.wait_until(lambda: False, 0.2, "no answer")


def test_stopping_leaves_nobody_not_even_one_that_ignores_term(tmp_path: Path) -> None:
    children = Children()
    logs = [tmp_path / "easy", tmp_path / "stubborn"]
    for log, command in zip(logs, (SLEEP, STUBBORN), strict=True):
        children.start(Child(log.name, command, log))
    wait_until(lambda: all("up" in log.read_text() for log in logs), "both")
    pids = children.pids().values()
    children.stop(within_s=0.3)
    assert not any(alive(pid) for pid in pids)


def test_a_killed_parent_leaves_no_child(tmp_path: Path) -> None:
    log = tmp_path / "log"
    parent = f"""
import time
from pathlib import Path
from scripts.children import Child, Children
print(Children().start(Child("one", {SLEEP!r}, Path({str(log)!r}))).pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert alive(child)
        process.kill()
    wait_until(lambda: not alive(child), "the child's end")


def test_the_complaint_of_a_short_command_is_passed_on() -> None:
    with pytest.raises(Ended, match=r"sh -c .* ended with 3: out of ink"):
        output_of(["/bin/sh", "-c", "echo out of ink >&2; exit 3"], {})
