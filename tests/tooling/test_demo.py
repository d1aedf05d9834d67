"""The demo as a newcomer meets it: what goes wrong on its first minute, and the whole network once."""

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from scripts.claim import end_leftovers
from scripts.lagos import SITES
from tests.servers import free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-P", "-m", "scripts.demo"]
ENV = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "COLUMNS": "200"}
SENSORS = sum(len(site.devices) for site in SITES)


def demo(*words: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], env=ENV | env, capture_output=True, text=True, timeout=100)


def processes_of(folder: Path) -> list[str]:
    """The command lines of all processes that were started for this demo."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes() if process.name.isdecimal() else b""
            surroundings = (process / "environ").read_bytes() if words else b""
        except OSError:
            continue
        if os.fsencode(folder) in words + surroundings and int(process.name) != os.getpid():
            found.append(words.replace(b"\0", b" ").decode())
    return found


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = demo("--once", "--dir", str(tmp_path), "--port", str(port))
    assert (done.returncode, done.stderr) == (1, f"demo: port {port}: Address already in use; choose another with --port\n")


def test_a_folder_in_use_is_named_with_the_pid(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("w") as lock:
        lock.write("4711\n")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = demo("--once", "--dir", str(tmp_path), "--port", "0")
    said = f"demo: {tmp_path} is in use by a demo with pid 4711; stop that one or choose another --dir\n"
    assert (done.returncode, done.stderr) == (1, said)


@pytest.mark.parametrize(
    ("folder", "why"),
    [("a b", "blanks"), ("x" * 120, "more than 84 bytes"), ("file/x", "Not a directory")],
    ids=["a blank", "too long", "below a file"],
)
def test_a_folder_that_cannot_be_used_is_refused(tmp_path: Path, folder: str, why: str) -> None:
    (tmp_path / "file").touch()
    done = demo("--once", "--dir", str(tmp_path / folder), "--port", "0")
    assert done.returncode == 1
    assert why in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_mosquitto_it_says_what_to_run(tmp_path: Path) -> None:
    done = demo("--once", "--dir", str(tmp_path), "--port", "0", PATH=str(tmp_path))
    assert (done.returncode, done.stderr) == (1, "demo: mosquitto is not installed; run scripts/setup demo\n")
    assert not list(tmp_path.iterdir())


def test_what_outlived_a_killed_demo_is_ended_and_strangers_are_left_alone(tmp_path: Path) -> None:
    ours = subprocess.Popen(["/bin/sleep", "60"], env={"DATA_DIR": str(tmp_path / "hub")})
    stranger = subprocess.Popen(["/bin/sleep", "60"])
    try:
        (tmp_path / "demo.json").write_text(json.dumps({"pids": {"hub": ours.pid, "broker": stranger.pid, "gone": 2**22 + 1}}))
        end_leftovers(tmp_path)
        assert ours.wait(10) == -signal.SIGKILL
        assert stranger.poll() is None
    finally:
        for process in (ours, stranger):
            process.kill()
            process.wait()


class Running:
    """A demo that runs until it is told to stop."""

    def __init__(self, folder: Path, process: subprocess.Popen[str]) -> None:
        self.folder, self.process = folder, process

    @property
    def told(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.folder / "demo.json").read_text())
        return loaded

    def stations(self) -> list[dict[str, Any]]:
        with urllib.request.urlopen(f"{self.told['url']}/api/v1/dashboard/realtime", timeout=10) as response:
            found: list[dict[str, Any]] = json.load(response)["stations"]
        return found

    def stored(self) -> int:
        """Sensors with a stored reading."""
        return sum(sensor["latest"] is not None for station in self.stations() for sensor in station["sensors"])


@contextmanager
def running(folder: Path) -> Iterator[Running]:
    command = [*COMMAND, "--dir", str(folder), "--port", str(free_port())]
    process = subprocess.Popen(command, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wait_until(lambda: (folder / "demo.json").exists() or process.poll() is not None, "demo.json", timeout_s=90)
        assert process.poll() is None, process.communicate()[0]
        yield Running(folder, process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.wait(30)
        if process.stdout:
            process.stdout.close()


@pytest.mark.server
def test_once_prints_a_table_and_leaves_nobody_and_the_second_time_is_quick(tmp_path: Path) -> None:
    for limit_s in (100, 30):
        begun = time.monotonic()
        done = demo("--once", "--dir", str(tmp_path), "--port", "0")
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - begun < limit_s
        lines = done.stdout.splitlines()
        assert lines[0].split() == ["station", "sensor", "time", "values"]
        assert lines[-1].startswith(f"6 stations, {SENSORS} sensors; first readings stored after ")
        assert all(site.name in done.stdout for site in SITES)
        assert "pm2_5" in done.stdout
        assert "ug/m3" in done.stdout
        assert processes_of(tmp_path) == []


@pytest.mark.server
def test_whoever_is_killed_comes_back_and_a_killed_demo_leaves_nobody_and_nothing_in_the_way(tmp_path: Path) -> None:
    with running(tmp_path) as network:
        before = network.told["pids"]
        assert set(before) == {"hub", "broker", "simulate", *(f"demo-{number:02}" for number in range(1, 7))}
        for name in ("hub", "broker", "demo-01", "simulate"):
            os.kill(before[name], signal.SIGKILL)
        wait_until(
            lambda: all(network.told["pids"].get(name) != before[name] for name in ("hub", "broker", "demo-01", "simulate")),
            "the new starts",
            timeout_s=2 + 1,
        )
        wait_until(lambda: answers(network) and network.stored() == SENSORS, "readings of all sensors", timeout_s=60)
        network.process.kill()
        network.process.wait()
        wait_until(lambda: processes_of(tmp_path) == [], "the end of all children", timeout_s=5)
    again = demo("--once", "--dir", str(tmp_path), "--port", "0")
    assert again.returncode == 0, again.stderr


def answers(network: Running) -> bool:
    try:
        network.stations()
    except OSError:
        return False
    return True


@pytest.mark.browser
def test_the_readmes_picture_is_the_demos_page(tmp_path: Path) -> None:
    """Writes docs/page.png when HARMATTAN_PICTURE names it."""
    from playwright.sync_api import sync_playwright

    picture = Path(os.environ.get("HARMATTAN_PICTURE", str(tmp_path / "page.png")))
    with running(tmp_path) as network, sync_playwright() as play:
        wait_until(lambda: network.stored() == SENSORS, "readings of all sensors", timeout_s=90)
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1100, "height": 720})
        page.goto(network.told["url"])
        for site in SITES:
            page.get_by_text(site.name).first.wait_for(timeout=20_000)
        page.screenshot(path=picture)
        browser.close()
    assert picture.stat().st_size > 10_000
