"""The daemon on a simulated RS-485 bus and with devices that post to it, from a gateway.yaml as people write it."""

import json
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.config import load, load_network
from edge.simulate import playing
from tests.edge.test_daemon import Running, running, states
from tests.servers import free_port, wait_until

SENSORS = """\
  - {{id: air, profile: generic.xy-md02, at: "modbus-rtu:bus?unit=1", every: 200ms}}
  - {{id: co2, profile: senseair.s8, at: "modbus-rtu:bus?unit=254", every: 200ms}}
  - {{id: box, profile: airgradient.local, at: "listen:/box/t0ken", every: {every}}}
"""
AIRROHR = {
    "esp8266id": "12345678",
    "software_version": "NRZ-2024-135",
    "sensordatavalues": [
        {"value_type": "SDS_P1", "value": "21.40"},
        {"value_type": "SDS_P2", "value": "9.80"},
        {"value_type": "BME280_pressure", "value": "100512.30"},
        {"value_type": "signal", "value": "-71"},
    ],
}


@contextmanager
def gateway(folder: Path, text: str) -> Iterator[Running]:
    file = folder / "gateway.yaml"
    file.write_text(f"gateway: lagos-01\nstore: {{path: outbox.db}}\ncontrol: edge.sock\n{text}")
    with running(load(file)) as daemon:
        yield daemon


def listen(port: int) -> str:
    return f'listen: {{http: "127.0.0.1:{port}", allow: [127.0.0.0/8]}}\n'


def test_units_of_one_bus_and_a_posting_device_are_sampled_side_by_side(tmp_path: Path) -> None:
    port = free_port()
    network = tmp_path / "network.yaml"
    network.write_text(f"{listen(port)}sensors:\n{SENSORS.format(every='300ms')}")
    silent = '  - {id: gone, profile: generic.xy-md02, at: "modbus-rtu:bus?unit=9", every: 1s}\n'
    with (
        playing(load_network(network)),
        gateway(tmp_path, f"{listen(port)}sensors:\n{SENSORS.format(every='60s')}{silent}") as daemon,
    ):
        for name in ("air", "co2", "box"):
            daemon.until(name, "ok")
        assert daemon.until("gone", "no_answer")["hint"]
        assert 400 < daemon.sensor("co2")["values"]["co2"] < 600
        first = daemon.sensor("box")["time"]
        wait_until(lambda: daemon.sensor("box")["time"] != first, "the next post, long before `every` is over")
    # The silent unit takes nothing from the others. One late answer on a machine that stalls is told, and so is its end.
    for name in ("air", "box"):
        assert states(tmp_path, name) in ([], ["no_answer", "ok"])


def test_an_airrohr_posts_with_its_stock_firmware(tmp_path: Path) -> None:
    port = free_port()
    line = '  - {id: rohr, profile: sensorcommunity.airrohr, at: "listen:/airrohr/t0ken", every: 145s}\n'
    with gateway(tmp_path, f"{listen(port)}sensors:\n{line}") as daemon:
        wait_until(lambda: daemon.sensor("rohr")["state"] == "starting", "the daemon's first word")
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/airrohr/t0ken", json.dumps(AIRROHR).encode(), {"Content-Type": "application/json"}
        )
        wait_until(lambda: _posted(request), "a post that is taken")
        shown = daemon.until("rohr", "ok")
        assert (shown["values"]["sds.pm10"], shown["values"]["sds.pm2_5"]) == (21.4, 9.8)


def _posted(request: urllib.request.Request) -> bool:
    try:
        with urllib.request.urlopen(request, timeout=2) as answer:
            return int(answer.status) == 200
    except OSError:
        return False


def test_a_device_that_has_gone_quiet_is_told_once_and_comes_back(tmp_path: Path) -> None:
    port = free_port()
    line = '  - {id: box, profile: airgradient.local, at: "listen:/box/t0ken", every: 200ms}\n'
    request = urllib.request.Request(f"http://127.0.0.1:{port}/box/t0ken", b'{"pm02": 12, "wifi": -60}')
    with gateway(tmp_path, f"{listen(port)}sensors:\n{line}") as daemon:
        daemon.until("box", "no_answer")
        assert _posted(request)
        daemon.until("box", "ok")
        assert "nothing was posted" in daemon.until("box", "no_answer")["why"]
    assert states(tmp_path, "box")[:3] == ["no_answer", "ok", "no_answer"]
