"""A hub with 20 stations in; requests a second and CPU a request out, beside the bare framework in the same run.

`python bench/api.py [--write]`. Two processes: the hub as `harmattan-hub run api` serves it (limits, log, security headers,
database), and a FastAPI application with one route a path that returns the hub's own bytes, on the same uvicorn. One client asks
both in turn over one connection each. CPU is what the server's process used: it says more than the clock on a busy machine.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fastapi import FastAPI, Response
from msgspec import Struct

from bench.measure import machine, write
from hub.app import create_app
from hub.context import Context
from hub.database.engine import open_database
from hub.followers.runner import Followers
from hub.front.log import Front
from hub.roles import Server, listening, logged
from hub.settings import Settings
from readings.sample import Channel
from tests.hub.field import Gateway, enrol, store
from tests.servers import free_port, listens, wait_until

STATIONS = 20
SAMPLES = 125
"""Of the first station: with the eight values of a PMS5003 and its climate sensor, 1,000 readings."""
CHANNELS = tuple(
    Channel(name, unit, exponent)
    for name, unit, exponent in (
        ("pm1", "ug/m3", 0), ("pm2_5", "ug/m3", 0), ("pm10", "ug/m3", 0), ("co2", "ppm", 0), ("no2", "ppb", -1),
        ("temperature", "degC", -2), ("humidity", "%", -1), ("pressure", "hPa", -1),
    )
)  # fmt: skip
ROUNDS = 9
ROUND_S = 0.4
PATHS = {
    "/health": "/health",
    "1,000 readings": "/api/v1/sensors/1/readings?limit=125",
    "/dashboard/realtime": "/api/v1/dashboard/realtime",
}
SITE = {"lat": 6.51581, "lon": 3.38982, "alt_m": 12, "zone": "Africa/Lagos"}
ADDRESS = "X-Forwarded-For: 203.0.113.9\r\n"
"""So that the hub looks for the client behind a proxy, and counts it."""


class Served(Struct, frozen=True):
    """One server under load: its process, and a connection to it."""

    pid: int
    connection: socket.socket

    def ask(self, path: str) -> bytes:
        """The body of one answer."""
        self.connection.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n{ADDRESS}\r\n".encode())
        got = b""
        while b"\r\n\r\n" not in got:
            got += self.connection.recv(1 << 16)
        head, _, body = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += self.connection.recv(1 << 18)
        return body

    def cpu_s(self) -> float:
        """What its process has used, all threads (the clock that clock_getcpuclockid(3) names)."""
        return time.clock_gettime((~self.pid << 3) | 2)

    def load(self, path: str) -> tuple[float, float]:
        """Requests a second, and CPU a request [s]."""
        asked, begun, used = 0, time.perf_counter(), self.cpu_s()
        while time.perf_counter() - begun < ROUND_S:
            self.ask(path)
            asked += 1
        return asked / (time.perf_counter() - begun), (self.cpu_s() - used) / asked


def main() -> None:
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="harmattan-bench-") as name:
        folder = Path(name)
        fill(folder)
        with started("hub", folder) as hub:
            for number, path in enumerate(PATHS.values()):
                (folder / f"answer-{number}").write_bytes(hub.ask(path))
            with started("bare", folder) as bare:
                rows = [_row(what, hub, bare, path) for what, path in PATHS.items()]
    head = "| answer | requests/s | bare | CPU a request [ms] | bare | ratio of CPU |\n|---|---|---|---|---|---|"
    said = f"One connection, one client; load average {before:.1f} before the run. {machine()}"
    text = "\n".join([head, *rows, "", said])
    write("api", text) if "--write" in sys.argv else print(text)


def _row(what: str, hub: Served, bare: Served, path: str) -> str:
    for served in (hub, bare):
        served.load(path)
    pairs = [(hub.load(path), bare.load(path)) for _ in range(ROUNDS)]
    rate, bare_rate = (median(pair[which][0] for pair in pairs) for which in (0, 1))
    cpu, bare_cpu = (median(pair[which][1] for pair in pairs) * 1e3 for which in (0, 1))
    ratio = median(ours[1] / floor[1] for ours, floor in pairs)
    return f"| {what} | {rate:.0f} | {bare_rate:.0f} | {cpu:.3f} | {bare_cpu:.3f} | {ratio:.2f} |"


def fill(folder: Path) -> None:
    """A database with STATIONS stations, a PMS5003 each, the first with SAMPLES samples."""
    database = open_database(f"sqlite:///{folder / 'hub.db'}", create=True)
    front, followers, now = Front(database), Followers(database, Settings(data_dir=folder)), time.time_ns() // 1_000_000
    for number in range(1, STATIONS + 1):
        name, samples = f"bench-{number:02}", SAMPLES if number == 1 else 30
        enrol(database, name)
        gateway, begun = Gateway(name, stream=f"{number:016x}"), now - samples * 60_000
        gateway.start(SITE | {"name": name}, at_ms=begun)
        gateway.schema(channels=CHANNELS)
        gateway.samples(0)
        for minute in range(samples):
            gateway.sample([8, 12 + minute % 7, 20, 415, 71, 2840 + minute, 713, 10_081], begun + minute * 60_000)
        store(front, gateway.came(1, received_ms=now))
        followers.catch_up()
    database.close()


@contextmanager
def started(which: str, folder: Path) -> Iterator[Served]:
    """This file again, as a server."""
    port = free_port()
    with (folder / f"{which}.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, __file__, which, str(port), str(folder)], stderr=log)
    try:
        wait_until(lambda: listens(port), which)
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield Served(process.pid, connection)
    finally:
        process.terminate()
        process.wait(20)


def serve(which: str, port: int, folder: Path) -> None:
    logged("info")
    rate = (1_000_000_000, 60)
    settings = Settings(data_dir=folder, http_bind=("127.0.0.1", port), trusted_proxies=("127.0.0.1",), rate_limit_address=rate)
    database = open_database(settings.database)
    app = create_app(Context(settings, database, ("api",))) if which == "hub" else bare_app(folder)
    with listening("HTTP_BIND", settings.http_bind) as opened:
        Server(app, settings).run([opened])


def bare_app(folder: Path) -> FastAPI:
    """The framework alone: the same paths, the same bytes. Functions are plain where the hub's are: in the thread pool."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    health, readings, realtime = ((folder / f"answer-{number}").read_bytes() for number in range(len(PATHS)))

    @app.get("/health")
    async def _health() -> Response:
        return Response(health, media_type="application/json")

    @app.get("/api/v1/sensors/{sensor}/readings")
    def _readings(sensor: int, limit: int = 1000) -> Response:
        return Response(readings, media_type="application/json")

    @app.get("/api/v1/dashboard/realtime")
    def _realtime() -> Response:
        return Response(realtime, media_type="application/json")

    return app


if __name__ == "__main__":
    if len(sys.argv) == 4:
        serve(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
