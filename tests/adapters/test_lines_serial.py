"""Instruments that write lines, behind a pseudo-terminal: the daemon's sensor opens, asks, listens."""

from pathlib import Path

import pytest

from adapters.catalogue import Catalogue
from adapters.sensor import Sensor, open_sensor
from adapters.transport.base import Garbage, NoData, Unanswered, parse_address
from tests.servers import wait_until

from .conftest import Device

NO_FIX = b"$GPGGA,201716.684,,,,,0,00,,,M,0.0,M,,0000*5F\r\n"
FIX = b"$GPGGA,184353.07,1929.045,S,02410.506,E,1,04,2.6,100.00,M,-33.9,M,,0000*6D\r\n"


def sensor_at(catalogue: Catalogue, profile: str, device: Device) -> Sensor:
    address = parse_address(f"serial:{device.path}", Path("/"))
    return open_sensor(catalogue.get(profile), address, sensor_id="x", every_s=1)


def numbers(sensor: Sensor, deadline_s: float = 2) -> dict[str, int | None]:
    answer = sensor.sample(deadline_s)
    return dict(zip([channel.parameter for channel in sensor.schema.channels], answer.values, strict=True))


def test_the_first_line_after_opening_is_dropped_because_its_beginning_may_be_missing(
    catalogue: Catalogue, device: Device
) -> None:
    sensor = sensor_at(catalogue, "dylos.dc1700", device)
    sensor.open()
    device.say(b"59,93\r\n1614,")
    with pytest.raises(Garbage):
        sensor.sample(0.3)
    device.say(b"98\r\n")
    assert numbers(sensor)["n_gt_0_5um_raw"] == 1614
    sensor.close()


def test_a_receiver_without_a_fix_gives_no_data_and_no_place(catalogue: Catalogue, device: Device) -> None:
    sensor = sensor_at(catalogue, "gps.nmea", device)
    sensor.open()
    device.say(NO_FIX)
    with pytest.raises(NoData):
        sensor.sample(1)
    device.say(FIX + FIX)
    assert numbers(sensor)["altitude"] == 10000
    sensor.close()


def test_a_transmitter_is_asked_and_its_answer_read_unit_by_unit(catalogue: Catalogue, device: Device) -> None:
    sensor = sensor_at(catalogue, "vaisala.wxt5xx", device)
    device.answer(b"0R0\r\n", lambda: b"0R0,Dm=051D,Sm=0.1M,Ta=27.9C,Ua=39.4P,Pa=1003.2H,Rc=0.00M,Th=28.1C,Vh=0.0N\r\n")
    values = numbers(sensor)
    assert (values["temperature"], values["pressure"]) == (279, 10032)
    assert "rain_intensity" not in values  # this transmitter has not given it yet
    device.answer(b"0R0\r\n", lambda: b"0TX,Unknown cmd error\r\n")
    with pytest.raises(Exception, match="Unknown cmd error"):
        sensor.sample(1)
    with pytest.raises(Unanswered):
        sensor.sample(0.2)
    sensor.close()


def test_what_was_dropped_is_counted_in_the_next_answer(catalogue: Catalogue, device: Device) -> None:
    sensor = sensor_at(catalogue, "gps.nmea", device)
    sensor.open()
    device.say(FIX.replace(b"1929", b"1928") + b"\xff\xfe" + FIX + FIX)
    wait_until(lambda: sensor._source._bytes >= 3 * len(FIX), "all bytes")  # type: ignore[attr-defined]
    answer = sensor.sample(1)
    assert answer.counted["bad_checksum"] == 1
    sensor.close()
