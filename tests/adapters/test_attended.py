"""Commands over a real pseudo-terminal: a device that sleeps is woken, warms up, is put to sleep again, and says no."""

import os
import threading
import time
from pathlib import Path

import pytest

from adapters.catalogue import Catalogue
from adapters.profile import Profile, parse
from adapters.sensor import open_sensor
from adapters.transport.base import DeviceError, NoData, Unanswered, Waking, WarmingUp, parse_address

from .conftest import Device

TEXT = """
profile: acme.sleepy
models: [Sleepy]
source: made up
link: {reply_timeout_s: 0.3}
wake: {send: 57, expect: 4f 4b, refused: 4e 4f, timeout_s: 0.3}
ask: 51
sleep: {send: 53, expect: 4f 4b, timeout_s: 0.3}
rest_above_s: 60
warmup_s: 0.2
wire: {grammar: frame, start: aa bb, length: 5, check: {sum: sum8, at: 4}}
states: {no_data: {at: 2, bytes: ff ff}, error: {at: 2, bytes: ff fe}}
fields: {pm2_5: {at: 2, unit: ug/m3}}
"""


def frame(word: int) -> bytes:
    body = b"\xaa\xbb" + word.to_bytes(2, "big")
    return body + bytes((sum(body) & 0xFF,))


class Sleepy(threading.Thread):
    """The far end: obeys W and S, answers Q while it is awake."""

    def __init__(self, device: Device) -> None:
        super().__init__(daemon=True)
        self.device, self.awake, self.word, self.obeys = device, True, 13, True
        self.heard = b""
        self.start()

    def run(self) -> None:
        while self.device.master >= 0:
            try:
                told = os.read(self.device.master, 100)
            except OSError:
                return
            for letter in told:
                self.heard += bytes((letter,))
                if letter in b"WS" and self.obeys:
                    self.awake = letter == ord("W")
                    self.device.say(b"OK")
                elif letter in b"WS":
                    self.device.say(b"NO")
                elif self.awake:
                    self.device.say(frame(self.word))


@pytest.fixture
def sleepy(device: Device) -> Sleepy:
    return Sleepy(device)


def profile(tmp_path: Path, change: tuple[str, str] = ("", "")) -> Profile:
    return parse(TEXT.replace(*change).lstrip().encode(), tmp_path / "acme" / "sleepy.yaml")


def test_a_device_found_running_is_warm(sleepy: Sleepy, tmp_path: Path) -> None:
    sensor = open_sensor(profile(tmp_path), parse_address(f"serial:{sleepy.device.path}", tmp_path), sensor_id="s", every_s=5)
    assert sensor.lead_s == 0
    assert sensor.sample(1).values == (13,)
    sensor.close()
    assert sleepy.heard == b"Q"


def test_a_silent_device_is_woken_and_warms_up_from_then_on(sleepy: Sleepy, tmp_path: Path) -> None:
    sleepy.awake = False
    sensor = open_sensor(profile(tmp_path), parse_address(f"serial:{sleepy.device.path}", tmp_path), sensor_id="s", every_s=5)
    with pytest.raises(WarmingUp, match="woken") as woken:
        sensor.sample(0.3)
    assert woken.value.again_s == pytest.approx(0.2)
    with pytest.raises(WarmingUp, match="more"):
        sensor.sample(0.3)
    time.sleep(0.2)  # the warm-up itself
    assert sensor.sample(1).values == (13,)
    sensor.close()


def test_between_samples_that_are_far_apart_it_sleeps(sleepy: Sleepy, tmp_path: Path) -> None:
    sensor = open_sensor(profile(tmp_path), parse_address(f"serial:{sleepy.device.path}", tmp_path), sensor_id="s", every_s=300)
    assert sensor.lead_s == pytest.approx(0.2)
    assert sensor.sample(1).values == (13,)
    assert not sleepy.awake
    with pytest.raises(Waking) as woken:
        sensor.sample(1)
    assert (woken.value.state, sleepy.awake) == ("", True)
    time.sleep(0.2)  # the warm-up itself
    assert sensor.sample(1).values == (13,)
    assert not sleepy.awake
    sensor.close()


def test_one_that_refuses_to_wake_is_told_as_what_it_is(sleepy: Sleepy, tmp_path: Path) -> None:
    sleepy.awake, sleepy.obeys = False, False
    sensor = open_sensor(profile(tmp_path), parse_address(f"serial:{sleepy.device.path}", tmp_path), sensor_id="s", every_s=5)
    with pytest.raises(Unanswered):
        sensor.sample(0.3)
    sensor.close()


def test_no_data_error_and_zero_are_three_things(sleepy: Sleepy, tmp_path: Path) -> None:
    plain = profile(tmp_path, ("wake: {send: 57, expect: 4f 4b, refused: 4e 4f, timeout_s: 0.3}\n", "wake: 57\n"))
    sensor = open_sensor(plain, parse_address(f"serial:{sleepy.device.path}", tmp_path), sensor_id="s", every_s=5)
    sleepy.word = 0
    assert sensor.sample(1).values == (0,)
    sleepy.word = 0xFFFF
    with pytest.raises(NoData):
        sensor.sample(0.3)
    sleepy.word = 0xFFFE
    with pytest.raises(DeviceError, match="device_error:") as error:
        sensor.sample(0.3)
    assert error.value.state == "error"
    sensor.close()


def test_an_open_command_that_nobody_obeys_is_silence(sleepy: Sleepy, tmp_path: Path) -> None:
    sleepy.obeys = False
    eager = profile(tmp_path, ("ask: 51\n", "ask: 51\nopen: {send: 57, expect: 4f 4b, timeout_s: 0.1}\n"))
    sensor = open_sensor(eager, parse_address(f"serial:{sleepy.device.path}", tmp_path), sensor_id="s", every_s=5)
    with pytest.raises(Unanswered, match="does not answer the command 57"):
        sensor.sample(0.3)
    sensor.close()


def test_several_questions_are_one_sample(device: Device, tmp_path: Path) -> None:
    second = "messages: {second: {wire: {start: aa cc}, fields: {pm10: {at: 2, unit: ug/m3}}}}\n"
    text = TEXT.replace("ask: 51\n", "ask: [31, 32]\n") + second
    both = parse(text.lstrip().encode(), tmp_path / "acme" / "sleepy.yaml")

    def run() -> None:
        while True:
            try:
                told = os.read(device.master, 100)
            except OSError:
                return
            for letter in told:
                body = b"\xaa\xbb\0\x05" if letter == ord("1") else b"\xaa\xcc\0\x07"
                device.say(body + bytes((sum(body) & 0xFF,)))

    threading.Thread(target=run, daemon=True).start()
    sensor = open_sensor(both, parse_address(f"serial:{device.path}", tmp_path), sensor_id="s", every_s=5)
    answer = sensor.sample(2)
    assert (answer.values, answer.flags) == ((5, 7), (1, 1))
    sensor.close()


def test_the_simulator_obeys_sleep_and_wake(tmp_path: Path, catalogue: Catalogue) -> None:
    from edge.day import Day
    from edge.voice import Voice

    profile = catalogue.get("sensirion.sps30")
    voice = Voice(profile, Day(1, "pm"))
    rest, answer, asks = voice.obey(b"noise" + profile.sleep[0].data + profile.ask[0].data)
    assert (voice.asleep, answer, asks) == (True, profile.sleep[0].answer, False)
    rest, answer, asks = voice.obey(rest)
    assert (rest, answer, asks) == (b"", b"", False)
    assert voice.obey(profile.wake[0].data)[1] == profile.wake[0].answer
    assert not voice.asleep
    assert voice.obey(profile.ask[0].data)[2]
