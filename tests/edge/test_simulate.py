"""The simulator's ways out, each read as a gateway would: serial, Modbus RTU and TCP, HTTP both ways; and what its log says."""

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import termios
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import serial

from adapters.decode import Reading, decoder
from adapters.sensor import open_sensor
from edge.config import Network, load_network
from edge.day import Day
from edge.simulate import playing
from edge.voice import Voice
from readings.errors import Stop
from tests.servers import free_port, wait_until

ASK = bytes.fromhex("424de200000171")


class Played:
    """A running network in a folder: where its parts are, what its log says so far."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log.ndjson"
        self.tty = folder / "dev" / "pm-01"
        self.modbus, self.http = free_port(), free_port()
        self.file = folder / "network.yaml"
        self.file.write_text(f"""\
seed: 1
sensors:
  - {{id: pm-01, profile: plantower.pms5003, at: "serial:dev/pm-01"}}
  - {{id: meter-01, profile: eastron.sdm230, at: "modbus-tcp://127.0.0.1:{self.modbus}?unit=7"}}
  - {{id: box-02, profile: airgradient.local, at: "http://127.0.0.1:{self.http}/box-02/measures/current"}}
""")

    @property
    def network(self) -> Network:
        return load_network(self.file)

    def lines(self, sensor: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in found if line["sensor"] == sensor]

    def first_line(self, sensor: str) -> dict[str, Any]:
        """A line is written after the answer is sent: it may be a moment late."""
        wait_until(lambda: bool(self.lines(sensor)), f"a log line of {sensor}")
        return self.lines(sensor)[0]

    def profile(self, sensor: str) -> Any:
        return next(s.profile for s in self.network.sensors if s.id == sensor)

    def modbus_read(self, function: int, first: int, count: int, unit: int = 7) -> bytes:
        """The response without its 7-byte header."""
        with socket.create_connection(("127.0.0.1", self.modbus), timeout=5) as wire:
            wire.sendall(struct.pack(">HHHBBHH", 0x1234, 0, 6, unit, function, first, count))
            answer = wire.recv(512)
        transaction, protocol, length, echoed = struct.unpack(">HHHB", answer[:7])
        assert (transaction, protocol, length, echoed) == (0x1234, 0, len(answer) - 6, unit)
        return answer[7:]


@pytest.fixture
def played(tmp_path: Path) -> Iterator[Played]:
    here = Played(tmp_path)
    with playing(here.network, here.log):
        yield here


def test_a_serial_sensor_talks_by_itself(played: Played) -> None:
    with serial.Serial(str(played.tty), 9600, timeout=5) as line:
        frame = line.read(32)
    [reading] = decoder(played.profile("pm-01")).feed(frame)
    assert isinstance(reading, Reading)
    line_of_log = played.first_line("pm-01")
    assert (line_of_log["hex"], line_of_log["values"]) == (frame.hex(), reading.values)


def test_a_serial_sensor_that_is_asked_answers_at_once_and_then_waits_for_the_next_question(played: Played) -> None:
    with serial.Serial(str(played.tty), 9600, timeout=5) as line:
        line.read(32)
        for _ in range(2):
            line.reset_input_buffer()
            line.write(ASK)
            assert line.read(32)[:4] == bytes.fromhex("424d001c")
        line.timeout = 1
        assert line.read(1) == b""


def test_frames_that_nobody_reads_are_neither_kept_nor_logged(played: Played) -> None:
    assert not played.lines("pm-01")
    with serial.Serial(str(played.tty), 9600, timeout=5) as line:
        line.read(32)
    assert len(played.lines("pm-01")) <= 1, "more than the one frame that was read"


def test_a_line_that_is_opened_again_is_still_a_raw_line(played: Played) -> None:
    for _ in range(2):
        with serial.Serial(str(played.tty), 9600, timeout=5) as line:
            assert line.read(4) == bytes.fromhex("424d001c")
    handle = os.open(played.tty, os.O_RDONLY | os.O_NOCTTY)
    assert not termios.tcgetattr(handle)[3] & termios.ECHO
    os.close(handle)


def test_a_meter_answers_with_registers_that_mean_what_the_log_says(played: Played) -> None:
    body = played.modbus_read(4, 0, 2)
    (volts,) = struct.unpack(">f", body[2:])
    line = played.first_line("meter-01")
    assert body[:2] == bytes((4, 4))
    assert line["values"] == {"voltage": pytest.approx(volts)}
    assert bytes.fromhex(line["hex"]).endswith(body)


def test_all_requests_of_one_poll_see_one_moment(played: Played) -> None:
    assert played.modbus_read(4, 0, 2) == played.modbus_read(4, 0, 2)


def test_reserved_registers_read_as_zero(played: Played) -> None:
    assert played.modbus_read(4, 2, 2)[2:] == bytes(4)


@pytest.mark.parametrize(
    ("function", "first", "count", "unit", "exception"),
    [(4, 340, 10, 7, 2), (3, 0, 2, 7, 1), (6, 0, 2, 7, 1), (4, 0, 0, 7, 3), (4, 0, 126, 7, 3), (4, 0, 2, 8, 11)],
    ids=["no such register", "function of another device", "a write", "nothing", "too many", "another unit"],
)
def test_a_wrong_request_gets_its_modbus_exception(
    played: Played, function: int, first: int, count: int, unit: int, exception: int
) -> None:
    assert played.modbus_read(function, first, count, unit) == bytes((function | 0x80, exception))
    assert not played.lines("meter-01")


def test_a_web_sensor_answers_its_json(played: Played) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{played.http}/box-02/measures/current", timeout=5) as response:
        body = response.read()
        assert response.headers["Content-Type"] == "application/json"
    [reading] = decoder(played.profile("box-02")).feed(body)
    assert isinstance(reading, Reading)
    line = played.first_line("box-02")
    assert line["json"] == json.loads(body)
    assert line["values"] == reading.values
    assert line["time"].endswith("Z")


def test_a_wrong_path_is_not_found(played: Played) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{played.http}/", timeout=5)


def test_a_stale_link_is_replaced_and_gone_at_the_end(tmp_path: Path) -> None:
    here = Played(tmp_path)
    here.tty.parent.mkdir()
    here.tty.symlink_to("/dev/pts/999999")
    with playing(here.network):
        assert here.tty.resolve().exists()
    assert not here.tty.is_symlink()


def test_a_file_in_the_place_of_the_link_is_left_alone(tmp_path: Path) -> None:
    here = Played(tmp_path)
    here.tty.parent.mkdir()
    here.tty.write_text("precious")
    with pytest.raises(Stop, match="is there already and is no link"), playing(here.network):
        pass
    assert here.tty.read_text() == "precious"


def test_a_taken_port_is_named_and_what_was_open_is_closed_again(tmp_path: Path) -> None:
    here = Played(tmp_path)
    with socket.create_server(("127.0.0.1", here.modbus)):
        with pytest.raises(Stop, match=f"127.0.0.1:{here.modbus}: address already in use"), playing(here.network):
            pass
        assert not here.tty.is_symlink()


def test_a_sensor_that_cannot_be_played_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    file.write_text('seed: 1\nsensors:\n  - {id: x, profile: plantower.pms5003, at: "replay:x.json"}\n')
    with pytest.raises(Stop, match="replay: cannot be simulated"), playing(load_network(file)):
        pass


def test_the_same_seed_says_the_same_at_the_same_time(played: Played) -> None:
    once, again, other = (Voice(played.profile("pm-01"), Day(seed, "pm-01"), lambda: 1_795_500_000_000) for seed in (1, 1, 2))
    assert once.say().raw == again.say().raw != other.say().raw


def test_the_command_says_ready_and_takes_its_links_along_on_term(tmp_path: Path) -> None:
    here = Played(tmp_path)
    program = "import sys, pathlib, edge.simulate; sys.exit(edge.simulate.simulate(*map(pathlib.Path, sys.argv[1:])))"
    command = [sys.executable, "-c", program, str(here.file), str(here.log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        assert here.tty.is_symlink()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not here.tty.is_symlink()


BUS = """\
seed: 1
listen: {{http: "127.0.0.1:{port}"}}
sensors:
  - {{id: air-01, profile: generic.xy-md02, at: "modbus-rtu:dev/bus?unit=1"}}
  - {{id: co2-01, profile: senseair.s8, at: "modbus-rtu:dev/bus?unit=254"}}
  - {{id: sun-01, profile: epever.tracer, at: "modbus-rtu:dev/sun"}}
  - {{id: odd-01, profile: kicer.rs485-sht3x, at: "modbus-rtu:dev/bus?unit=3"}}
  - {{id: warm-01, profile: sensirion.scd30, at: "modbus-rtu:dev/warm?unit=97"}}
  - {{id: push-01, profile: airgradient.local, at: "listen:/box/token", every: 1s}}
"""


def test_a_bus_of_several_units_and_a_device_that_posts_are_read_as_a_gateway_would(tmp_path: Path) -> None:
    file, log = tmp_path / "network.yaml", tmp_path / "log.ndjson"
    file.write_text(BUS.format(port=free_port()))
    network = load_network(file)
    with playing(network, log):
        for played in network.sensors:
            sensor = open_sensor(played.profile, played.address, sensor_id=played.id, every_s=60)
            sensor.open()
            answer = sensor.sample(5)
            numbers = dict(zip((c.parameter for c in sensor.schema.channels), answer.values, strict=True))
            assert None not in numbers.values() or played.id == "push-01", (played.id, numbers)
            wait_until(lambda id_=played.id: f'"sensor":"{id_}"' in log.read_text(), f"a log line of {played.id}")  # type: ignore[misc]
            sensor.close()
    assert not (tmp_path / "dev" / "bus").is_symlink()
