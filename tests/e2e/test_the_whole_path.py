"""Bytes of a real PMS5003 -> pseudo-terminal -> daemon -> mosquitto -> hub -> the browser's page: one number all the way."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.network import Network, sensor_on_a_pty, settled
from tests.servers import wait_until

pytestmark = pytest.mark.server
CAPTURE = Path(__file__).parents[2] / "firmware-profiles/plantower/pms5003.capture.json"
CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
)


def captured_frame() -> bytes:
    """The first good frame of the capture that ships with the profile."""
    for vector in json.loads(CAPTURE.read_text())["vectors"]:
        raw = bytes.fromhex(vector["raw"].get("hex", ""))
        if vector["provenance"] == "captured" and len(raw) == 32 and vector["expect"]:
            return raw
    raise AssertionError("the capture has no whole frame")


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with Network(tmp_path) as network:
        yield network


@pytest.mark.browser
def test_a_value_on_the_page_is_what_the_bytes_mean(net: Network) -> None:
    frame = captured_frame()
    pm2_5 = struct.unpack_from(">H", frame, 12)[0]  # word 4, atmospheric: the maker's data sheet, not our profile
    with sensor_on_a_pty([frame]) as port:
        gateway = net.add("lagos-01", [{"id": "pm", "profile": "plantower.pms5003", "at": f"serial:{port}", "every": "1s"}])
        wait_until(lambda: bool(net.get("/api/v1/sensors?name=lagos-01/pm")["results"]), "the sensor at the hub")
        shown = _shown_on_page(net.url, "lagos-01/pm", "pm2_5")
    assert float(shown) == pm2_5
    assert gateway.program.stop() == 0
    settled(net, gateway)


def _shown_on_page(url: str, sensor: str, parameter: str) -> str:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        page = browser.new_page()
        page.goto(url)
        value = page.locator(f'[data-sensor="{sensor}"] [data-parameter="{parameter}"][data-value]').first
        value.wait_for(timeout=20_000)
        shown = value.get_attribute("data-value")
        browser.close()
    assert shown is not None
    return shown
