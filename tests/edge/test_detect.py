"""`detect` and `read` against simulated devices and a port that listens to every byte that is said to it."""

import json
import os
import pty
import threading
import tty
from pathlib import Path

import pytest

from adapters.catalogue import Catalogue
from adapters.profile import RegisterWire
from edge.cli import run_command
from edge.config import load_network
from edge.detect import Found, Silent, detect, neighbours, profiles_of, serial_ports
from edge.simulate import playing
from tests.servers import free_port

CATALOGUE = Catalogue.load()


def network(folder: Path, sensors: str) -> Path:
    file = folder / "network.yaml"
    file.write_text(f"seed: 1\nsensors:\n{sensors}")
    return file


def test_a_talking_sensor_and_a_page_of_the_network_are_found(tmp_path: Path) -> None:
    port = free_port()
    file = network(
        tmp_path,
        '  - {id: pm, profile: plantower.pms5003, at: "serial:ttyPM"}\n'
        f'  - {{id: box, profile: airgradient.local, at: "http://127.0.0.1:{port}/measures/current"}}\n',
    )
    with playing(load_network(file)):
        seen = detect(profiles_of(CATALOGUE), [tmp_path / "ttyPM"], [f"127.0.0.1:{port}"], listen_s=1.5)
    pm, box = seen
    assert isinstance(pm, Found)
    assert (pm.profiles[0], pm.how, pm.at) == ("plantower.pms5003", "heard", f"serial:{tmp_path / 'ttyPM'}")
    assert "honeywell.hpma115s0" in pm.profiles
    assert any("take the one printed on the device" in line for line in pm.yaml(1))
    assert box == Found(f"http://127.0.0.1:{port}/measures/current", ("airgradient.local",), "asked")


def test_the_yaml_can_be_pasted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = network(tmp_path, '  - {id: co2, profile: winsen.mhz19b, at: "serial:ttyCO2"}\n')
    with playing(load_network(file)):
        code = run_command(["detect", "--port", str(tmp_path / "ttyCO2")])
        shown = capsys.readouterr().out
    assert code == 0
    config = tmp_path / "gateway.yaml"
    config.write_text(f"gateway: lagos-01\n{shown}")
    assert run_command(["check", str(config)]) == 0


def test_only_what_a_profile_marks_is_asked_and_nothing_is_ever_written_to_a_register(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    said = bytearray()

    def listen() -> None:
        while True:
            try:
                said.extend(os.read(master, 1000))
            except OSError:
                return

    threading.Thread(target=listen, daemon=True).start()
    path = Path(os.ttyname(slave))
    profiles = [CATALOGUE.get(name) for name in ("plantower.pms5003", "winsen.mhz19b", "winsen.ze07-ch2o", "senseair.s8")]
    (silent,) = detect(profiles, [path], [], listen_s=0.1)
    assert isinstance(silent, Silent)
    rest = bytes(said)
    for profile in profiles:
        for command in profile.ask if profile.probe else ():
            rest = rest.replace(command.data, b"")
    if not any(isinstance(profile.wire, RegisterWire) and profile.probe for profile in profiles):
        assert rest == b""
    os.close(slave)
    os.close(master)


def test_a_port_that_is_not_there_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = run_command(["detect", "--port", str(tmp_path / "ttyNO"), "--json"])
    document = json.loads(capsys.readouterr().out)
    assert (code, document["found"]) == (1, [])
    assert "is not there" in document["silent"][0]["why"]


def test_read_shows_bytes_values_and_flags(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = network(tmp_path, '  - {id: pm, profile: sensirion.sps30, at: "serial:ttySPS"}\n')
    with playing(load_network(file)):
        code = run_command(["read", "--profile", "sensirion.sps30", "--at", f"serial:{tmp_path / 'ttySPS'}", "--json"])
    live = json.loads(capsys.readouterr().out)
    assert (code, live["state"], live["flags"]["pm2_5"], live["units"]["pm2_5"]) == (0, "ok", 1, "ug/m3")
    assert live["raw"].startswith("7e 00 03 00 28")
    assert live["flags"]["status_register"] == 9


def test_read_refuses_an_address_that_cannot_be(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["read", "--profile", "plantower.pms5003", "--at", "/dev/ttyUSB0"]) == 2
    assert "write serial:/dev/ttyUSB0" in capsys.readouterr().err


def test_each_port_is_named_once_by_its_lasting_name(tmp_path: Path) -> None:
    (tmp_path / "ttyUSB0").touch()
    (tmp_path / "ttyACM0").touch()
    (tmp_path / "serial" / "by-id").mkdir(parents=True)
    (tmp_path / "serial" / "by-id" / "usb-FTDI").symlink_to(tmp_path / "ttyUSB0")
    assert serial_ports(tmp_path) == [tmp_path / "serial" / "by-id" / "usb-FTDI", tmp_path / "ttyACM0"]


def test_neighbours_are_those_with_an_address(tmp_path: Path) -> None:
    table = tmp_path / "arp"
    table.write_text(
        "IP address       HW type     Flags       HW address            Mask     Device\n"
        "192.168.1.30     0x1         0x2         aa:bb:cc:dd:ee:ff     *        eth0\n"
        "192.168.1.31     0x1         0x0         00:00:00:00:00:00     *        eth0\n"
    )
    assert neighbours(table) == ["192.168.1.30"]
    assert neighbours(tmp_path / "absent") == []
