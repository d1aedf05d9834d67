"""The control socket: real sockets in a real folder, one daemon, several people asking."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.control import LinkState, NotRunning, SensorState, Server, Shown, Snapshot, ask
from readings.errors import Retry, Stop
from readings.sample import rfc3339

NOON = 1_795_608_000_000


def snapshot() -> Snapshot:
    pm = SensorState("pm", "ok", NOON, time.monotonic() - 3, {"pm2_5": 12.3}, {"pm2_5": "ug/m3"}, {"pm2_5": 1})
    return Snapshot(
        "lagos-01", "0.1.0", time.monotonic() - 2, (pm, SensorState("box", "no_answer")), uplink=LinkState("offline", NOON, 10.0)
    )


class Daemon:
    """What the core gives the server: a snapshot and the samples of late."""

    def __init__(self, path: Path) -> None:
        self.seen: tuple[Shown, ...] = ()
        self.server = Server(path, snapshot=snapshot, recent=lambda: self.seen)

    def sampled(self, sensor: str, value: float) -> None:
        self.seen = (*self.seen, Shown(len(self.seen), sensor, NOON, {"pm2_5": value}, {"pm2_5": "ug/m3"}, {"pm2_5": 1}))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "edge.sock"


@pytest.fixture
def daemon(path: Path) -> Iterator[Daemon]:
    made = Daemon(path)
    made.server.start()
    yield made
    made.server.stop()


def test_status_tells_each_sensor_with_its_age(daemon: Daemon, path: Path) -> None:
    (answer,) = ask(path, {"ask": "status"})
    pm, box = answer["sensors"]
    assert (pm["time"], pm["values"], pm["flags"]) == ("2026-11-25T12:00:00.000Z", {"pm2_5": 12.3}, {"pm2_5": 1})
    assert 3 <= pm["age_s"] < 5
    assert (box["time"], box["age_s"], box["state"]) == (None, None, "no_answer")
    assert answer["uplink"]["since"] == "2026-11-25T12:00:00.000Z"
    assert 7 < answer["uplink"]["next_try_s"] <= 8


def test_tail_gives_the_last_samples_of_one_sensor(daemon: Daemon, path: Path) -> None:
    for value in (1.0, 2.0, 3.0):
        daemon.sampled("pm", value)
        daemon.sampled("box", -value)
    lines = list(ask(path, {"ask": "tail", "sensor": "pm", "n": 2}))
    assert [line["values"]["pm2_5"] for line in lines] == [2.0, 3.0]


def test_tail_follows_what_comes(daemon: Daemon, path: Path) -> None:
    daemon.sampled("pm", 1.0)
    lines = ask(path, {"ask": "tail", "n": 1, "follow": True})
    assert next(lines)["values"] == {"pm2_5": 1.0}
    threading.Timer(0.05, daemon.sampled, ("pm", 2.0)).start()
    assert next(lines)["values"] == {"pm2_5": 2.0}


def test_an_unknown_sensor_is_answered_with_the_known(daemon: Daemon, path: Path) -> None:
    with pytest.raises(Stop, match="no sensor co2; sensors here are pm, box"):
        list(ask(path, {"ask": "tail", "sensor": "co2"}))


def test_the_socket_is_for_owner_and_group_only(daemon: Daemon, path: Path) -> None:
    assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_second_daemon_is_told_the_pid_of_the_first(daemon: Daemon, path: Path) -> None:
    with pytest.raises(Stop, match=f"in use by the daemon with pid {os.getpid()}; stop that one first"):
        Daemon(path).server.start()
    assert list(ask(path, {"ask": "status"}))


def test_the_socket_of_a_killed_daemon_is_removed(path: Path) -> None:
    subprocess.run([sys.executable, "-c", f"import socket; socket.socket(1).bind({str(path)!r})"], check=True)
    with pytest.raises(NotRunning):
        list(ask(path, {"ask": "pid"}))
    daemon = Daemon(path)
    daemon.server.start()
    assert list(ask(path, {"ask": "pid"})) == [{"pid": os.getpid()}]
    daemon.server.stop()
    assert not path.exists()


def test_a_file_in_the_sockets_place_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(Stop, match="something else stands there"):
        Daemon(path).server.start()
    assert path.read_text() == "precious"


def test_a_folder_far_too_deep_for_a_socket_works(tmp_path: Path) -> None:
    path = tmp_path / ("d" * 100) / ("e" * 100) / "edge.sock"
    path.parent.mkdir(parents=True)
    daemon = Daemon(path)
    daemon.server.start()
    assert list(ask(path, {"ask": "pid"})) == [{"pid": os.getpid()}]
    daemon.server.stop()


@pytest.mark.parametrize("junk", [b"\n", b"GET / HTTP/1.0\r\n\r\n", b"[1]\n", b'{"ask":"sudo"}\n', b"\xff\xfe\n", b"x" * 10_000])
def test_junk_gets_one_line_of_error(daemon: Daemon, path: Path, junk: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as talk:
        talk.connect(str(path))
        talk.sendall(junk)
        assert "error" in json.loads(talk.makefile("rb").readline())
    assert list(ask(path, {"ask": "pid"}))


def test_a_silent_daemon_is_no_stale_one(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as frozen:
        frozen.bind(str(path))
        frozen.listen(1)
        with pytest.raises(Retry, match="no answer"):
            list(ask(path, {"ask": "status"}, timeout_s=0.1))


def test_clients_that_say_nothing_do_not_block_the_others(daemon: Daemon, path: Path) -> None:
    idle = []
    for _ in range(8):
        talk = socket.socket(socket.AF_UNIX)
        talk.connect(str(path))
        idle.append(talk)
    assert list(ask(path, {"ask": "pid"}))
    for talk in idle:
        talk.close()


def test_times_outside_the_calendar_are_none() -> None:
    assert rfc3339(10**18) is None
    assert rfc3339(0) == "1970-01-01T00:00:00.000Z"
