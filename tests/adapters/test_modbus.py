"""Modbus TCP against a server that speaks the raw protocol: shared connection, refusals, silence, late and cut answers."""

import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.catalogue import Catalogue
from adapters.decode.modbus import register
from adapters.decode.registers import encoder
from adapters.profile import Profile
from adapters.sensor import Sensor, open_sensor
from adapters.transport.base import Garbage, LinkFailed, Refused, Unanswered, parse_address
from readings.errors import Retry
from tests.servers import free_port

VALUES = {
    "voltage": 230.2,
    "current": 4.75,
    "power_active": 1092.5,
    "power_factor": 0.97,
    "frequency": 50.01,
    "energy_import": 1234.56,
    "energy_export": 0.25,
    "energy_total": 1234.81,
}
Say = Callable[[int, int, int, int, int], bytes | None]
"""transaction, unit, function, address, count -> what goes out; None: silence."""


@pytest.fixture
def sdm230(catalogue: Catalogue) -> Profile:
    return catalogue.get("eastron.sdm230")


class Meter:
    """A Modbus TCP server; counts its connections."""

    def __init__(self, say: Say) -> None:
        self.connections = 0
        meter = self

        class Serve(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                meter.connections += 1
                while len(asked := self.request.recv(12)) == 12:
                    transaction, unit, function, address, count = struct.unpack(">H4xBBHH", asked)
                    said = say(transaction, unit, function, address, count)
                    if said == b"":
                        return
                    if said is not None:
                        self.request.sendall(said)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            allow_reuse_address = True

        self.server = Server(("127.0.0.1", 0), Serve)
        self.port = self.server.server_address[1]


@contextmanager
def metered(say: Say) -> Iterator[Meter]:
    meter = Meter(say)
    with meter.server:
        thread = threading.Thread(target=meter.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield meter
        meter.server.shutdown()


def framed(transaction: int, unit: int, pdu: bytes) -> bytes:
    return struct.pack(">HHHB", transaction, 0, len(pdu) + 1, unit) + pdu


def honest(profile: Profile) -> Say:
    image = encoder(profile)(VALUES)

    def say(transaction: int, unit: int, function: int, address: int, count: int) -> bytes:
        asked = [register(function, at) for at in range(address, address + count)]
        if address % 2 or not all(at in image for at in asked):
            return framed(transaction, unit, bytes([function | 0x80, 2]))
        words = b"".join(image[at].to_bytes(2, "big") for at in asked)
        return framed(transaction, unit, bytes([function, len(words)]) + words)

    return say


def sensor_at(port: int, profile: Profile, unit: int = 1) -> Sensor:
    address = parse_address(f"modbus-tcp://127.0.0.1:{port}?unit={unit}", Path())
    return open_sensor(profile, address, sensor_id="meter", every_s=60)


def test_a_meter_gives_all_its_values(sdm230: Profile) -> None:
    with metered(honest(sdm230)) as meter:
        sensor = sensor_at(meter.port, sdm230)
        answer = sensor.sample(5)
        sensor.close()
    named = dict(zip((channel.parameter for channel in sensor.schema.channels), answer.values, strict=True))
    exponents = {channel.parameter: channel.exponent for channel in sensor.schema.channels}
    assert {name: round(value * 10.0 ** exponents[name], 3) for name, value in named.items() if value is not None} == VALUES
    assert set(answer.flags) == {1}


def test_units_behind_one_bridge_share_its_connection(sdm230: Profile) -> None:
    with metered(honest(sdm230)) as meter:
        sensors = [sensor_at(meter.port, sdm230, unit) for unit in (1, 2, 3)]
        for _ in range(2):
            for sensor in sensors:
                sensor.sample(5)
        assert meter.connections == 1
        for sensor in sensors:
            sensor.close()


def test_a_refused_request_leaves_its_fields_missing(sdm230: Profile) -> None:
    good = honest(sdm230)

    def say(transaction: int, unit: int, function: int, address: int, count: int) -> bytes | None:
        if address == 342:
            return framed(transaction, unit, bytes([0x84, 2]))
        return good(transaction, unit, function, address, count)

    with metered(say) as meter:
        sensor = sensor_at(meter.port, sdm230)
        answer = sensor.sample(5)
        sensor.close()
    assert (answer.values[-1], answer.flags[-1]) == (None, 9)
    assert answer.values[0] == 23020
    assert answer.counted == {"modbus_exception:2": 1}


def test_a_device_that_refuses_everything_is_refused_by_name(sdm230: Profile) -> None:
    with metered(lambda transaction, unit, function, *_: framed(transaction, unit, bytes([function | 0x80, 2]))) as meter:
        sensor = sensor_at(meter.port, sdm230)
        with pytest.raises(Refused, match="modbus_exception:2"):
            sensor.sample(3)
        sensor.close()


def test_a_bridge_that_reaches_no_device_is_silence_not_refusal(sdm230: Profile) -> None:
    with metered(lambda transaction, unit, function, *_: framed(transaction, unit, bytes([function | 0x80, 11]))) as meter:
        sensor = sensor_at(meter.port, sdm230)
        with pytest.raises(Unanswered, match="reaches no device"):
            sensor.sample(3)
        sensor.close()


def test_a_silent_unit_ends_at_its_deadline_and_is_asked_again(sdm230: Profile) -> None:
    good, silent = honest(sdm230), [True]
    with metered(lambda *asked: None if silent[0] else good(*asked)) as meter:
        sensor = sensor_at(meter.port, sdm230)
        began = time.monotonic()
        with pytest.raises(Unanswered, match="unit 1 does not answer"):
            sensor.sample(0.4)
        assert time.monotonic() - began < 2
        silent[0] = False
        assert sensor.sample(3).values[0] == 23020
        sensor.close()


def test_a_late_answer_is_never_taken_for_the_next_one(sdm230: Profile) -> None:
    good = honest(sdm230)

    def say(transaction: int, unit: int, function: int, address: int, count: int) -> bytes | None:
        wrong = framed(transaction + 500, unit, bytes([function, 2 * count]) + bytes(2 * count))
        return wrong + (good(transaction, unit, function, address, count) or b"")

    with metered(say) as meter:
        sensor = sensor_at(meter.port, sdm230)
        answer = sensor.sample(5)
        sensor.close()
    assert answer.values[0] == 23020
    assert answer.counted == {"wrong_transaction": 6}


@pytest.mark.parametrize(
    "said",
    [
        lambda transaction, unit, function, _, count: framed(
            transaction + 7, unit, bytes([function, 2 * count]) + bytes(2 * count)
        ),
        lambda transaction, unit, function, _, count: framed(transaction, unit, bytes([function, 2 * count]) + bytes(2))[:-1],
        lambda transaction, unit, function, _, count: framed(transaction, unit, bytes([function, 2]) + bytes(2)),
        lambda transaction, unit, *_: framed(transaction, unit, bytes([0x2B, 1, 2])),
        lambda *_: b"HTTP/1.0 400 Bad Request\r\n\r\n",
    ],
)
def test_a_wrong_answer_never_becomes_a_value(said: Say, sdm230: Profile) -> None:
    with metered(said) as meter:
        sensor = sensor_at(meter.port, sdm230)
        with pytest.raises((Garbage, Unanswered)):
            sensor.sample(0.3)
        sensor.close()


def test_a_cut_connection_is_told_and_made_again(sdm230: Profile) -> None:
    good, cut = honest(sdm230), [True]
    with metered(lambda *asked: b"" if cut[0] else good(*asked)) as meter:
        sensor = sensor_at(meter.port, sdm230)
        with pytest.raises(LinkFailed):
            sensor.sample(2)
        cut[0] = False
        assert sensor.sample(3).values[0] == 23020
        sensor.close()


def test_nobody_there_is_refused_and_comes_back(sdm230: Profile) -> None:
    port = free_port()
    sensor = sensor_at(port, sdm230)
    with pytest.raises(Refused, match="takes no connection"):
        sensor.sample(1)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(Retry):
        sensor.sample(0.2)
    sensor.close()


def test_a_device_behind_a_bridge_is_started_by_its_command(catalogue: Catalogue) -> None:
    scd30 = catalogue.get("sensirion.scd30")
    image = encoder(scd30)({"co2": 512.0, "temperature": 21.5, "relative_humidity": 40.0})
    asked: list[int] = []

    def say(transaction: int, unit: int, function: int, address: int, count: int) -> bytes | None:
        asked.append(function)
        if function == 6:
            return framed(transaction, unit, bytes([6, 0, 0x36, 0, 0]))
        words = b"".join(image[register(function, at)].to_bytes(2, "big") for at in range(address, address + count))
        return framed(transaction, unit, bytes([function, len(words)]) + words)

    with metered(say) as meter:
        sensor = sensor_at(meter.port, scd30, 97)
        for _ in range(2):
            assert sensor.sample(3).values[0] == 5120
        sensor.close()
    assert asked == [6, 3, 3]


@pytest.mark.parametrize(("answer", "trouble"), [(b"\x86\x02", Refused), (None, Unanswered)])
def test_a_command_that_is_refused_or_not_answered_is_told(
    catalogue: Catalogue, answer: bytes | None, trouble: type[Retry]
) -> None:
    with metered(lambda transaction, unit, *_: None if answer is None else framed(transaction, unit, answer)) as meter:
        sensor = sensor_at(meter.port, catalogue.get("sensirion.scd30"), 97)
        with pytest.raises(trouble, match="command"):
            sensor.sample(1)
        sensor.close()
