"""Modbus RTU over a real pseudo-terminal: several units, echoes, noise, damaged, late and foreign answers."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from adapters.catalogue import Catalogue
from adapters.decode.checksums import crc16_modbus
from adapters.decode.modbus import framed, register
from adapters.decode.registers import encoder
from adapters.profile import Link, Profile
from adapters.sensor import Answer, Sensor, open_sensor
from adapters.transport.base import Garbage, Refused, Unanswered, parse_address
from readings.errors import Trouble
from tests.adapters.conftest import Device

TRUTH = {"temperature": 21.5, "relative_humidity": 48.0}
Reply = Callable[[int, int, int, int], list[bytes | float]]
"""unit, function, address, count -> what goes out, in turn; a number is a pause [s]."""


@pytest.fixture
def xymd02(catalogue: Catalogue) -> Profile:
    return catalogue.get("generic.xy-md02")


def impatient(profile: Profile, timeout_s: float = 0.4) -> Profile:
    return msgspec.structs.replace(profile, link=msgspec.structs.replace(profile.link, reply_timeout_s=timeout_s))


def honest(profile: Profile, values: dict[str, float], *, unit: int = 1) -> Reply:
    image = encoder(profile)(values)

    def reply(asked: int, function: int, address: int, count: int) -> list[bytes | float]:
        if asked != unit:
            return []
        row = [register(function, at) for at in range(address, address + count)]
        if row[0] not in image or row[-1] not in image:
            return [framed(unit, bytes((function | 0x80, 2)))]
        words = b"".join(image.get(at, 0).to_bytes(2, "big") for at in row)
        return [framed(unit, bytes((function, len(words))) + words)]

    return reply


@contextmanager
def speaking(device: Device, reply: Reply) -> Iterator[list[bytes]]:
    """The far end of the line: answers each whole request. Gives the requests that came."""
    asked: list[bytes] = []

    def run() -> None:
        heard = b""
        while True:
            try:
                heard += os.read(device.master, 256)
            except OSError:
                return
            while len(heard) >= 8:
                frame, heard = heard[:8], heard[8:]
                assert crc16_modbus(frame[:6]) == int.from_bytes(frame[6:], "little")
                asked.append(frame)
                said = reply(frame[0], frame[1], int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[4:6], "big"))
                for part in said:
                    if isinstance(part, bytes):
                        device.say(part)
                    else:
                        time.sleep(part)

    threading.Thread(target=run, daemon=True).start()
    yield asked


def sensor_at(device: Device, profile: Profile, unit: int = 1) -> Sensor:
    address = parse_address(f"modbus-rtu:{device.path}?unit={unit}", Path())
    return open_sensor(profile, address, sensor_id=f"unit{unit}", every_s=60)


def named(sensor: Sensor, answer: Answer) -> dict[str, float | None]:
    pairs = zip(sensor.schema.channels, answer.values, strict=True)
    return {c.parameter: None if v is None else round(v * 10.0**c.exponent, 6) for c, v in pairs}


def test_a_unit_gives_its_values_in_one_request(device: Device, xymd02: Profile) -> None:
    with speaking(device, honest(xymd02, TRUTH)) as asked:
        sensor = sensor_at(device, xymd02)
        answer = sensor.sample(2)
        sensor.close()
    assert named(sensor, answer) == TRUTH
    assert [frame.hex() for frame in asked] == ["010400010002200b"]
    assert (answer.counted, set(answer.flags)) == ({}, {1})


def test_several_units_share_a_port_and_a_silent_one_harms_nobody(device: Device, xymd02: Profile) -> None:
    profile = impatient(xymd02)
    cold, warm = honest(profile, {**TRUTH, "temperature": -7.5}, unit=1), honest(profile, TRUTH, unit=3)
    with speaking(device, lambda unit, *asked: [*cold(unit, *asked), *warm(unit, *asked)]):
        sensors = {unit: sensor_at(device, profile, unit) for unit in (1, 2, 3)}
        for _ in range(3):
            assert named(sensors[1], sensors[1].sample(0.4))["temperature"] == -7.5
            with pytest.raises(Unanswered):
                sensors[2].sample(0.1)
            assert named(sensors[3], sensors[3].sample(0.4)) == TRUTH
        for sensor in sensors.values():
            sensor.close()


def test_registers_of_two_functions_come_in_one_sample(device: Device, catalogue: Catalogue) -> None:
    s8 = catalogue.get("senseair.s8")
    with speaking(device, honest(s8, {"co2": 612, "abc_period": 180}, unit=254)) as asked:
        sensor = sensor_at(device, s8, 254)
        answer = sensor.sample(2)
        sensor.close()
    assert named(sensor, answer) == {"meter_status": 0, "co2": 612, "abc_period": 180}
    assert [frame.hex() for frame in asked] == ["fe0400000004e5c6", "fe03001f0001a1c3"]


def test_a_status_bit_flags_what_it_is_about_and_is_told(device: Device, catalogue: Catalogue) -> None:
    s8 = catalogue.get("senseair.s8")
    with speaking(device, honest(s8, {"co2": 612, "meter_status": 0b100001}, unit=254)):
        sensor = sensor_at(device, s8, 254)
        answer = sensor.sample(2)
        sensor.close()
    assert answer.notes == ("fatal_error", "out_of_range")
    assert answer.flags == (1, 4, 1)
    assert answer.values[1] == 612, "flagged, not lost"


def test_a_device_that_must_be_started_is_started_once(device: Device, catalogue: Catalogue) -> None:
    scd30 = catalogue.get("sensirion.scd30")
    values = {"co2": 439.0, "temperature": 27.2, "relative_humidity": 48.8}
    measured = honest(scd30, values, unit=97)

    def reply(unit: int, function: int, address: int, count: int) -> list[bytes | float]:
        return [framed(97, b"\x06\x00\x36\x00\x00")] if function == 6 else measured(unit, function, address, count)

    with speaking(device, reply) as asked:
        sensor = sensor_at(device, scd30, 97)
        for _ in range(2):
            assert named(sensor, sensor.sample(2)) == pytest.approx(values)
        sensor.close()
    assert [frame[1] for frame in asked] == [6, 3, 3]


def test_a_halfduplex_adapter_that_echoes_is_no_trouble(device: Device, xymd02: Profile) -> None:
    good = honest(xymd02, TRUTH)

    def echoing(unit: int, function: int, address: int, count: int) -> list[bytes | float]:
        request = framed(unit, bytes((function,)) + address.to_bytes(2, "big") + count.to_bytes(2, "big"))
        return [request, 0.02, *good(unit, function, address, count)]

    with speaking(device, echoing):
        sensor = sensor_at(device, xymd02)
        for _ in range(3):
            assert named(sensor, sensor.sample(2)) == TRUTH
        with pytest.raises(Unanswered):
            sensor_at(device, xymd02, 9).sample(0.3)
        sensor.close()


def test_an_answer_in_pieces_is_one_answer(device: Device, xymd02: Profile) -> None:
    good = honest(xymd02, TRUTH)

    def dripping(*asked: int) -> list[bytes | float]:
        [frame] = good(*asked)
        assert isinstance(frame, bytes)
        return [frame[:1], 0.03, frame[1:4], 0.05, frame[4:]]

    with speaking(device, dripping):
        sensor = sensor_at(device, xymd02)
        assert named(sensor, sensor.sample(2)) == TRUTH
        sensor.close()


FOREIGN = {
    "noise": (b"\x00\xff\x13\x37" * 5, "skipped_bytes"),
    "another unit": (framed(7, bytes.fromhex("0404ffffffff")), "wrong_slave"),
    "another function": (framed(1, bytes.fromhex("0304ffffffff")), "wrong_function"),
    "another length": (framed(1, bytes.fromhex("0402ffff")), "bad_length"),
    "half of one": (framed(1, bytes.fromhex("0404ffffffff"))[:6], "skipped_bytes"),
    "a damaged one": (framed(1, bytes.fromhex("0404ffffffff"))[:-1] + b"\x00", "bad_checksum"),
    "another maker's": (bytes.fromhex("424d001c0005000d00160005000d001602fd00fc001d000f00060006970003c5"), "skipped_bytes"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_comes_before_the_answer_is_counted_by_name_and_passed_over(device: Device, xymd02: Profile, kind: str) -> None:
    before, code = FOREIGN[kind]
    good = honest(xymd02, TRUTH)
    with speaking(device, lambda *asked: [before, *good(*asked)]):
        sensor = sensor_at(device, xymd02)
        answer = sensor.sample(2)
        sensor.close()
    assert named(sensor, answer) == TRUTH
    assert answer.counted[code] >= 1


@pytest.mark.parametrize("kind", FOREIGN)
def test_what_comes_instead_of_an_answer_gives_no_value_and_the_next_sample_is_good(
    device: Device, xymd02: Profile, kind: str
) -> None:
    profile, good, bad = impatient(xymd02, 0.1), honest(xymd02, TRUTH), [True]
    with speaking(device, lambda *asked: [FOREIGN[kind][0]] if bad[0] else good(*asked)):
        sensor = sensor_at(device, profile)
        with pytest.raises((Garbage, Unanswered)):
            sensor.sample(0.15)
        bad[0] = False
        answer = sensor.sample(3)
        sensor.close()
    assert named(sensor, answer) == TRUTH
    assert sum(answer.counted.values()) >= 1, "what was dropped is told with the next answer"


def test_a_damaged_answer_is_asked_for_once_more_at_once(device: Device, xymd02: Profile) -> None:
    good, answers = honest(xymd02, TRUTH), 0

    def once_damaged(*asked: int) -> list[bytes | float]:
        nonlocal answers
        answers += 1
        [frame] = good(*asked)
        assert isinstance(frame, bytes)
        return [frame[:3] + b"\xff" + frame[4:] if answers == 1 else frame]

    with speaking(device, once_damaged):
        sensor = sensor_at(device, xymd02)
        began = time.monotonic()
        answer = sensor.sample(2)
        sensor.close()
    assert named(sensor, answer) == TRUTH
    assert answer.counted["bad_checksum"] == 1
    assert time.monotonic() - began < 1


def test_a_late_answer_never_passes_for_the_next_register(device: Device, catalogue: Catalogue) -> None:
    """Two requests of one length; the first answer comes after its time, when the second request would be out."""
    meter = impatient(catalogue.get("eastron.sdm230"), 0.2)
    values = {name: float(number) for number, name in enumerate(meter.numbers, 100)}
    good, late = honest(meter, values), [True]

    def reply(unit: int, function: int, address: int, count: int) -> list[bytes | float]:
        slow = late[0] and address == 0
        late[0] = False
        return [0.5, *good(unit, function, address, count)] if slow else good(unit, function, address, count)

    with speaking(device, reply):
        sensor = sensor_at(device, meter)
        with pytest.raises(Unanswered):
            sensor.sample(0.2)
        answer = sensor.sample(3)
        sensor.close()
    assert named(sensor, answer) == values
    assert answer.counted["late_bytes"] == 9


def test_a_unit_that_may_still_answer_is_not_asked_before_that(device: Device, xymd02: Profile) -> None:
    with speaking(device, lambda *_: []) as asked:
        sensor = sensor_at(device, impatient(xymd02, 0.1))
        for _ in range(4):
            with pytest.raises(Unanswered):
                sensor.sample(0.1)
        sensor.close()
    assert len(asked) == 1


def test_a_refusal_is_told_by_its_name(device: Device, xymd02: Profile) -> None:
    with speaking(device, lambda unit, function, *_: [framed(unit, bytes((function | 0x80, 2)))]):
        sensor = sensor_at(device, xymd02)
        with pytest.raises(Refused, match="modbus_exception:2"):
            sensor.sample(2)
        sensor.close()


def test_a_checksum_with_swapped_bytes_is_taken_only_where_the_profile_says_so(device: Device, catalogue: Catalogue) -> None:
    swapping, usual = catalogue.get("kicer.rs485-sht3x"), catalogue.get("generic.xy-md02")
    values = {"temperature": -12.5, "relative_humidity": 66.5}
    image = encoder(swapping)(values)

    def reply(unit: int, function: int, address: int, count: int) -> list[bytes | float]:
        row = range(register(function, address), register(function, address) + count)
        words = b"".join(image.get(at, 0).to_bytes(2, "big") for at in row)
        return [framed(unit, bytes((function, 2 * count)) + words, "big")]

    with speaking(device, reply):
        sensor = sensor_at(device, swapping)
        assert named(sensor, sensor.sample(2)) == values
        with pytest.raises(Garbage, match="crc_order"):
            sensor_at(device, impatient(usual)).sample(0.5)
        sensor.close()


def test_a_line_on_which_somebody_talks_all_the_time_gives_no_value_and_no_hang(device: Device, xymd02: Profile) -> None:
    stop = threading.Event()

    def chatter() -> None:
        while not stop.wait(0.001):
            device.say(b"\x55\xaa")

    thread = threading.Thread(target=chatter, daemon=True)
    thread.start()
    sensor, began = sensor_at(device, xymd02), time.monotonic()
    with pytest.raises((Garbage, Unanswered)):
        sensor.sample(0.3)
    assert time.monotonic() - began < 2
    stop.set()
    thread.join()
    sensor.close()


def test_the_address_may_set_the_line(catalogue: Catalogue, device: Device) -> None:
    profile = catalogue.get("generic.xy-md02")
    address = parse_address(f"modbus-rtu:{device.path}?unit=4&baud=19200&parity=even", Path())
    with speaking(device, honest(profile, TRUTH, unit=4)):
        sensor = open_sensor(profile, address, sensor_id="x", every_s=60)
        assert named(sensor, sensor.sample(2)) == TRUTH
        from adapters.transport.serial import line_at

        assert line_at(device.path, Link()).link.line == (19200, "even", 8, 1)
        sensor.close()


def test_a_port_that_is_pulled_and_plugged_goes_on(device: Device, xymd02: Profile) -> None:
    sensor = sensor_at(device, xymd02)
    with speaking(device, honest(xymd02, TRUTH)):
        sensor.sample(2)
    device.unplug()
    with pytest.raises(Trouble) as gone:
        sensor.sample(1)
    assert getattr(gone.value, "state", "") == "unplugged"
    device.plug()
    with speaking(device, honest(xymd02, TRUTH)):
        assert named(sensor, sensor.sample(2)) == TRUTH
    sensor.close()
