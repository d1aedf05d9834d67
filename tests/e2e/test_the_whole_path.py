"""Bytes of a real PMS5003 -> pseudo-terminal -> daemon -> mosquitto -> hub -> the browser's page: one number all the way."""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from tests.e2e.network import Network, sensor_on_a_pty, settled
from tests.servers import wait_until

pytestmark = pytest.mark.server
CAPTURE = Path(__file__).parents[2] / "firmware-profiles/plantower/pms5003.capture.json"
CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run"
    " --disable-background-networking --disable-component-update --disable-sync"
)


def captured_frames() -> list[bytes]:
    """The whole frames of the capture that ships with the profile."""
    vectors = json.loads(CAPTURE.read_text())["vectors"]
    raws = [bytes.fromhex(v["raw"].get("hex", "")) for v in vectors if v["provenance"] == "captured" and v["expect"]]
    return [raw for raw in raws if len(raw) == 32]


def meant(frame: bytes) -> int:
    """PM2.5 [ug/m3], atmospheric: word 4 of the maker's data sheet, not our profile."""
    word: int = struct.unpack_from(">H", frame, 12)[0]
    return word


@pytest.fixture
def net(tmp_path: Path) -> Iterator[Network]:
    with Network(tmp_path) as network:
        yield network


@pytest.mark.browser
def test_a_value_on_the_page_is_what_the_bytes_mean(net: Network) -> None:
    first, *others = captured_frames()
    second = next(frame for frame in others if meant(frame) != meant(first))
    spoken = [first]
    with sensor_on_a_pty(spoken) as port:
        gateway = net.add("lagos-01", [{"id": "pm", "profile": "plantower.pms5003", "at": f"serial:{port}", "every": "1s"}])
        wait_until(lambda: bool(net.get("/api/v1/sensors?name=lagos-01/pm")["results"]), "the sensor at the hub")
        with page_at(net.url) as page:
            shown = page.locator('[data-sensor="lagos-01/pm"][data-parameter="pm2_5"]').first
            expect(shown).to_have_attribute("data-value", str(meant(first)), timeout=20_000)
            spoken[0] = second
            expect(shown).to_have_attribute("data-value", str(meant(second)), timeout=20_000)
    settled(net, gateway)
    assert gateway.program.stop() == 0


@contextmanager
def page_at(url: str) -> Iterator[Page]:
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        page = browser.new_page()
        page.goto(url)
        yield page
        browser.close()
