"""The gateway's own clock, disk and supervisor, asked of this very machine."""

import os
import socket
import time
from pathlib import Path

import pytest

from edge.health import Clock, Supervisor, disk


def test_a_moment_is_in_whole_milliseconds_of_the_boot_clock() -> None:
    before_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    moment = Clock().moment()
    assert moment.mono_ns is not None
    assert moment.mono_ns % 1_000_000 == 0
    assert 0 <= moment.mono_ns - before_ns + 1_000_000 < 5_000_000_000
    assert abs(moment.wall_ms - time.time() * 1000) < 5000
    assert moment.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert moment.clock in ("synced", "holdover", "unsynced")


def test_the_moment_of_a_byte_that_came_earlier_is_earlier_on_both_clocks() -> None:
    clock = Clock()
    came_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - 1_500_000_000
    then, now = clock.moment_at(came_ns), clock.moment()
    assert then.mono_ns == came_ns // 1_000_000 * 1_000_000
    assert 1500 <= now.wall_ms - then.wall_ms < 3000


def test_a_clock_that_was_synced_holds_over_and_one_that_never_was_is_unsynced(tmp_path: Path) -> None:
    clock = Clock(synced_mark=tmp_path / "synchronized")
    assert clock._judge(False) == "unsynced"
    assert clock._judge(True) == "synced"
    assert clock._judge(False) == "holdover"


def test_a_restarted_daemon_knows_that_this_boot_was_synced(tmp_path: Path) -> None:
    (tmp_path / "synchronized").touch()
    assert Clock(synced_mark=tmp_path / "synchronized")._judge(False) == "holdover"


def test_a_disk_with_room_is_ok_and_a_missing_folder_is_named(tmp_path: Path) -> None:
    assert disk(tmp_path) == ("ok", "")
    word, why = disk(tmp_path / "gone")
    assert (word, why) == ("unreadable", f"{tmp_path}/gone: No such file or directory")


def test_systemd_hears_ready_then_signs_of_life_at_a_third_of_its_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
        supervisor = Supervisor()
        supervisor.ready()
        for now_s in (100.0, 101.0, 121.0):
            supervisor.alive(now_s)
        supervisor.stopping()
        said = [systemd.recv(100) for _ in range(4)]
    assert said == [b"READY=1", b"WATCHDOG=1", b"WATCHDOG=1", b"STOPPING=1"]


def test_without_systemd_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    supervisor = Supervisor()
    assert supervisor.every_s is None
    supervisor.ready()
    supervisor.alive(1.0)
