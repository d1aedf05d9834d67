"""Sensors on a serial line, over real pseudo-terminals: asked, talkative, silent, garbled, unplugged, held by others."""

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from adapters.profile import Profile
from adapters.sensor import Reduce, Sensor, open_sensor
from adapters.transport.base import (
    Busy,
    Garbage,
    LinkFailed,
    NoPermission,
    Unanswered,
    Unplugged,
    WarmingUp,
    boottime_ns,
    parse_address,
)
from readings.errors import Retry, Stop

from .conftest import PMS_GOOD, Device

ASK = bytes.fromhex("424de200000171")
WARMING = bytes.fromhex("424d001c000000000000000000000000000000000000000000000000000000ab")
PM2_5 = 4
"""Its place among the profile's channels."""


def sensor_at(path: Path, profile: Profile, reduce: Reduce = "last") -> Sensor:
    return open_sensor(profile, parse_address(f"serial:{path}", path.parent), sensor_id="pm", every_s=60, reduce=reduce)


def talkative(profile: Profile) -> Profile:
    """The same device in active mode: nobody asks it."""
    return msgspec.structs.replace(profile, ask=None)


def frame(pm2_5: int) -> bytes:
    body = bytearray(PMS_GOOD[:30])
    body[12:14] = pm2_5.to_bytes(2, "big")
    return bytes(body) + sum(body).to_bytes(2, "big")


def test_an_asked_sensor_answers_with_the_first_frame_after_the_question(device: Device, pms5003: Profile) -> None:
    sensor = sensor_at(device.path, pms5003)
    sensor.open()
    device.say(frame(99))  # before the question: forgotten
    device.answer(ASK, lambda: frame(7))
    before = boottime_ns()
    answer = sensor.sample(3)
    assert answer.values[PM2_5] == 7
    assert answer.flags == (1,) * 12
    assert before < answer.arrived_mono_ns <= boottime_ns()
    assert answer.raw.endswith(frame(7))
    sensor.close()


def test_a_sensor_that_streams_although_it_is_asked_is_accepted(device: Device, pms5003: Profile) -> None:
    sensor = sensor_at(device.path, pms5003)
    sensor.open()
    threading.Timer(0.1, device.say, [PMS_GOOD]).start()
    assert sensor.sample(3).values[PM2_5] == 13
    sensor.close()


def test_a_silent_sensor_is_asked_twice_and_then_called_silent(device: Device, pms5003: Profile) -> None:
    sensor = sensor_at(device.path, pms5003)
    with pytest.raises(Unanswered) as silent:
        sensor.sample(0.3)
    assert silent.value.state == "no_answer"
    sensor.close()


def test_a_second_question_reaches_a_sensor_that_missed_the_first(device: Device, pms5003: Profile) -> None:
    sensor = sensor_at(device.path, pms5003)
    device.answer(ASK + ASK, lambda: frame(8))
    assert sensor.sample(2).values[PM2_5] == 8
    sensor.close()


def test_garbage_is_named_by_its_fault_and_counted_with_the_next_answer(device: Device, pms5003: Profile) -> None:
    sensor = sensor_at(device.path, pms5003)
    device.answer(ASK, lambda: PMS_GOOD[:-1] + b"\x00" + b"\xff" * 5)
    with pytest.raises(Garbage) as garbage:
        sensor.sample(0.4)
    assert (garbage.value.state, garbage.value.code) == ("garbage", "bad_checksum")
    device.answer(ASK, lambda: PMS_GOOD)
    counted = sensor.sample(3).counted
    assert counted["bad_checksum"] == 1
    assert counted["skipped_bytes"] > 30
    sensor.close()


def test_an_all_zero_answer_means_that_the_sensor_warms_up(device: Device, pms5003: Profile) -> None:
    sensor = sensor_at(device.path, pms5003)
    device.answer(ASK, lambda: WARMING)
    began = time.monotonic()
    with pytest.raises(WarmingUp):
        sensor.sample(5)
    assert time.monotonic() - began < 2, "it is no use to wait for the deadline"
    sensor.close()


def test_a_vanished_port_is_told_and_opened_again_when_it_is_back(device: Device, pms5003: Profile) -> None:
    sensor = sensor_at(device.path, pms5003)
    device.answer(ASK, lambda: PMS_GOOD)
    sensor.sample(3)
    device.unplug()
    with pytest.raises(Unplugged):
        sensor.sample(0.5)
    with pytest.raises(Unplugged, match="plug it in"):
        sensor.sample(0.5)
    device.plug()
    device.answer(ASK, lambda: frame(21))
    assert sensor.sample(3).values[PM2_5] == 21
    sensor.close()


def test_a_port_that_was_plugged_in_anew_under_its_link_is_noticed(device: Device, pms5003: Profile) -> None:
    sensor = sensor_at(device.path, pms5003)
    sensor.open()
    old = (device.master, device.slave)
    device.plug()  # the link moves, the old terminal stays
    with pytest.raises(Unplugged):
        sensor.sample(0.8)
    device.answer(ASK, lambda: frame(5))
    assert sensor.sample(3).values[PM2_5] == 5
    sensor.close()
    for end in old:
        os.close(end)


def test_a_talkative_sensor_gives_its_newest_good_frame(device: Device, pms5003: Profile) -> None:
    sensor = sensor_at(device.path, talkative(pms5003))
    sensor.open()
    device.say(frame(1) + frame(2) + frame(3)[:20])
    sensor.sample(3)
    device.say(frame(3)[20:] + frame(4)[:-1] + b"\x00" + frame(5)[:10])
    third = sensor.sample(3)
    assert third.values[PM2_5] == 3
    device.say(frame(5)[10:])
    fifth = sensor.sample(3)
    assert fifth.values[PM2_5] == 5
    assert Counter(third.counted) + Counter(fifth.counted) == {"bad_checksum": 1, "skipped_bytes": 32}
    with pytest.raises(Unanswered):
        sensor.sample(0.1)
    sensor.close()


def test_the_time_of_a_streamed_frame_is_its_arrival_not_the_poll(device: Device, pms5003: Profile) -> None:
    sensor = sensor_at(device.path, talkative(pms5003))
    sensor.open()
    before = boottime_ns()
    device.say(PMS_GOOD)
    time.sleep(0.3)
    answer = sensor.sample(3)
    assert before < answer.arrived_mono_ns < before + 250_000_000
    sensor.close()


def test_a_mean_is_one_decimal_finer_and_says_its_period(device: Device, pms5003: Profile) -> None:
    sensor = sensor_at(device.path, talkative(pms5003), "mean")
    channel = sensor.schema.channels[PM2_5]
    assert (channel.exponent, channel.period_s) == (-1, 60)
    sensor.open()
    device.say(frame(3) + frame(4))
    time.sleep(0.1)
    assert sensor.sample(3).values[PM2_5] == 35
    sensor.close()


def test_a_mean_of_an_asked_sensor_is_refused(device: Device, pms5003: Profile) -> None:
    with pytest.raises(Stop, match="talk by themselves"):
        sensor_at(device.path, pms5003, "mean")


def test_a_talkative_sensor_that_was_unplugged_is_told_and_comes_back(device: Device, pms5003: Profile) -> None:
    sensor = sensor_at(device.path, talkative(pms5003))
    sensor.open()
    device.unplug()
    with pytest.raises(Unplugged):
        sensor.sample(2)
    device.plug()
    sensor.open()
    device.say(PMS_GOOD)
    assert sensor.sample(3).values[PM2_5] == 13
    sensor.close()


def test_two_sensors_of_one_bus_share_the_port(device: Device, pms5003: Profile) -> None:
    first, second = sensor_at(device.path, pms5003), sensor_at(device.path, pms5003)
    first.open()
    second.open()
    first.close()
    device.answer(ASK, lambda: PMS_GOOD)
    assert second.sample(3).values[PM2_5] == 13
    second.close()


HOLD = """
import fcntl, sys
port = open(sys.argv[1], "rb", buffering=0)
if sys.argv[2] == "lock":
    fcntl.flock(port, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", ["lock", "read"])
def test_a_port_in_use_names_the_program_that_holds_it(how: str, device: Device, pms5003: Profile) -> None:
    command = [sys.executable, "-c", HOLD, str(device.path), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == b"held\n"
        sensor = sensor_at(device.path, pms5003)
        with pytest.raises(Busy, match=f"pid {holder.pid}") as busy:
            sensor.sample(0.5)
        assert busy.value.state == "busy"
        holder.stdin.close()
        holder.wait(10)
    device.answer(ASK, lambda: PMS_GOOD)
    assert sensor.sample(3).values[PM2_5] == 13
    sensor.close()


REFUSED = """
import os, sys
from pathlib import Path
from adapters.profile import Link
from adapters.transport.serial import SerialLine
os.setgroups([]); os.setgid(65534); os.setuid(65534)
try:
    SerialLine(Path(sys.argv[1]), Link()).open()
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user who may not")
def test_no_permission_names_the_group_dialout(device: Device, root: Path) -> None:
    terminal = os.path.realpath(device.path)
    os.chmod(terminal, 0o600)
    command = [sys.executable, "-c", REFUSED, terminal]
    said = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(root)}, timeout=30)
    assert said.stdout.startswith(NoPermission.__name__), said.stdout + said.stderr
    assert "group dialout" in said.stdout


def test_what_is_no_serial_port_is_said_so(tmp_path: Path, pms5003: Profile) -> None:
    file = tmp_path / "file"
    file.write_text("no port")
    with pytest.raises(LinkFailed, match="no serial port"):
        sensor_at(file, pms5003).open()
    with pytest.raises(Retry, match=r"folder|no serial port"):
        sensor_at(tmp_path, pms5003).open()
    with pytest.raises(Unplugged, match="is not there"):
        sensor_at(tmp_path / "absent", pms5003).open()
