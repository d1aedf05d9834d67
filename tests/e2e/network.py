"""A folder in; a broker, a hub and gateways as the real programs out, each to be killed and started again at will."""

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx2
import msgspec
import psycopg

from readings.batch import decode
from readings.row import canonical, crc
from tests import shape
from tests.servers import Mosquitto, die_with_parent, free_port, wait_until

BIN = Path(sys.executable).parent
EDGE, HUB = str(BIN / "harmattan-edge"), str(BIN / "harmattan-hub")


class Questions(psycopg.ClientCursor[Any]):
    """A cursor of PostgreSQL for statements that SQLite would read."""

    def execute(self, query: Any, params: Any = None, **named: Any) -> Self:
        return super().execute(query.replace("?", "%s"), params, **named)


class Program:
    """One of our programs as a process, its words in a log file."""

    def __init__(self, command: Sequence[str], log: Path, env: dict[str, str] | None = None) -> None:
        self.command, self.log, self.env = list(command), log, env
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, env={**os.environ, **(self.env or {})}, preexec_fn=die_with_parent
            )

    def kill(self) -> None:
        """kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=20)
        self.process = None
        return code

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Gateway:
    """One `harmattan-edge run` with its configuration, outbox and socket."""

    def __init__(self, folder: Path, name: str, sensors: Sequence[dict[str, Any]], *, mqtt: str, extra: dict[str, Any]) -> None:
        self.name, self.folder = name, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.credential, self.config = folder / "credential", folder / "gateway.yaml"
        self.store, self.socket = folder / "outbox.db", folder / "edge.sock"
        settings: dict[str, Any] = {
            "gateway": name,
            "site": {"name": f"Station {name}", "lat": 6.5158, "lon": 3.3898, "zone": "Africa/Lagos"},
            "hub": {"mqtt": [mqtt], "credential": str(self.credential)},
            "link": {"mode": "open", "flush": "1s", "keepalive": "5s"},
            "store": {"path": str(self.store)},
            "control": str(self.socket),
            "sensors": list(sensors),
        }
        self.config.write_text(json.dumps(settings | extra))
        self.program = Program([EDGE, "run", str(self.config)], folder / "edge.log")

    def status(self) -> dict[str, Any]:
        """What `status --json` says; {} while it cannot be asked."""
        done = subprocess.run(
            [EDGE, "status", "--json", "--config", str(self.config)], capture_output=True, text=True, timeout=20
        )
        try:
            said: dict[str, Any] = json.loads(done.stdout)
        except json.JSONDecodeError:
            return {}
        return said

    def status_table(self) -> str:
        """What `status` shows to a person."""
        return subprocess.run([EDGE, "status", "--config", str(self.config)], capture_output=True, text=True, timeout=20).stdout

    def state_of(self, sensor: str) -> str | None:
        return next((s["state"] for s in self.status().get("sensors", []) if s["id"] == sensor), None)

    def committed(self) -> dict[tuple[str, int], int]:
        """(stream, seq) -> crc of every committed row, by `outbox export`."""
        out = self.folder / "export.ndjson"
        export = [EDGE, "outbox", "export", "--store", str(self.store), "--out", str(out)]
        subprocess.run(export, check=True, timeout=60, capture_output=True)
        rows = [json.loads(line) for line in out.read_text().splitlines()]
        return {(r["stream"], r["seq"]): r["crc"] for r in rows}


class Network:
    """`with Network(folder) as net:` has a broker and a hub running; gateways are added."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mqtt_port, self.http_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.http_port}"
        self.env = {
            "DATA_DIR": str(folder / "hub"),
            "BROKER_DIR": str(folder / "broker"),
            "HTTP_BIND": f"127.0.0.1:{self.http_port}",
            "METRICS_BIND": f"127.0.0.1:{free_port()}",
            "MQTT_URL": f"mqtt://127.0.0.1:{self.mqtt_port}",
        }
        (folder / "hub").mkdir(parents=True, exist_ok=True)
        self.env |= shape.environment_of(folder / "hub")
        self.hub = Program([HUB, "run"], folder / "hub.log", self.env)
        self.broker = Mosquitto(folder / "broker" / "mosquitto.conf", self.mqtt_port)
        self.gateways: list[Gateway] = []
        self.others: list[Program] = []

    def __enter__(self) -> Self:
        self.ask_hub("broker", str(self.folder / "broker"), "--port", str(self.mqtt_port))
        self.broker.start()
        self.start_hub()
        return self

    def __exit__(self, *_: object) -> None:
        for program in [*(g.program for g in self.gateways), *self.others, self.hub]:
            program.kill()
        self.broker.kill()
        shape.drop(self.folder / "hub")

    def ask_hub(self, *arguments: str) -> str:
        """The output of a `harmattan-hub` command."""
        done = subprocess.run([HUB, *arguments], capture_output=True, text=True, env={**os.environ, **self.env}, timeout=60)
        assert done.returncode == 0, f"{arguments}: {done.returncode} {done.stdout} {done.stderr}"
        return done.stdout

    def start_hub(self) -> None:
        self.hub.start()
        wait_until(lambda: self.answers("/health") or not self.hub.running, "the hub")
        assert self.hub.running, self.hub.log.read_text()

    def answers(self, path: str) -> bool:
        """Whether it is served at all, whatever the status."""
        try:
            httpx2.get(self.url + path, timeout=5)
        except httpx2.TransportError:
            return False
        return True

    def get(self, path: str, *, token: str | None = None) -> Any:
        """The JSON of a GET."""
        answer = httpx2.get(self.url + path, headers={"Authorization": f"Bearer {token}"} if token else {}, timeout=10)
        answer.raise_for_status()
        return answer.json()

    def add(self, name: str, sensors: Sequence[dict[str, Any]], *, start: bool = True, **extra: Any) -> Gateway:
        """A gateway, enrolled as an operator and a technician do it."""
        gateway = Gateway(self.folder / name, name, sensors, mqtt=self.env["MQTT_URL"], extra=extra)
        token = json.loads(self.ask_hub("gateway", "enrol", name, "--json"))["token"]
        enrol = [EDGE, "enrol", self.url, token, "--out", str(gateway.credential)]
        subprocess.run(enrol, check=True, timeout=30, capture_output=True)
        self.broker.reload()
        self.gateways.append(gateway)
        if start:
            gateway.program.start()
        return gateway

    def simulate(self, sensors: Sequence[dict[str, Any]], *, seed: int = 1) -> Path:
        """`harmattan-edge simulate` over these sensors; the path of its log."""
        network, log = self.folder / "network.yaml", self.folder / "simulate.ndjson"
        network.write_text(json.dumps({"seed": seed, "sensors": list(sensors)}))
        program = Program([EDGE, "simulate", str(network), "--log", str(log)], self.folder / "simulate.log")
        program.start()
        self.others.append(program)
        wait_until(lambda: b"ready" in program.log.read_bytes() or not program.running, "the simulator")
        assert program.running, program.log.read_text()
        return log

    # ---- the hub's database, read from outside

    @property
    def database_url(self) -> str:
        return self.env.get("DATABASE_URL") or f"sqlite:///{self.folder / 'hub' / 'hub.db'}"

    def database(self) -> Any:
        """A connection of the driver's own; statements are written with `?`."""
        if "DATABASE_URL" in self.env:
            return psycopg.connect(self.env["DATABASE_URL"], autocommit=True, cursor_factory=Questions)
        return sqlite3.connect(f"file:{self.folder / 'hub' / 'hub.db'}?mode=ro", uri=True)

    def front(self, gateway: str) -> list[tuple[tuple[str, int], int]]:
        """((stream, seq), crc) of each row that the front has taken, as often as it has it."""
        with self.database() as db:
            batches = db.execute(
                "SELECT b.stream, b.lo, b.take, b.header, b.body FROM batch b JOIN gateway g ON g.id = b.gateway"
                " WHERE g.name = ?",
                (gateway,),
            ).fetchall()
        found = []
        for stream, lo, take, header, body in batches:
            taken = None if take is None else msgspec.json.decode(take)
            for seq, row in enumerate(decode(bytes(header) + bytes(body)), lo):
                if taken is None or any(a <= seq <= b for a, b in taken):
                    found.append(((_name(stream), seq), crc(canonical(row))))
        return found

    def samples(self) -> list[tuple[Any, ...]]:
        with self.database() as db:
            found = db.execute("SELECT * FROM sample ORDER BY sensor, time_ms, stream_no, seq").fetchall()
        return [tuple(row) for row in found]


def _name(stream: Any) -> str:
    return stream if isinstance(stream, str) else f"{stream:016x}"


def settled(net: Network, gateway: Gateway, timeout_s: float = 60) -> None:
    """With the daemon running: each row committed by now comes to the front, each once, and nothing that was never committed."""
    committed = gateway.committed()
    assert committed
    wait_until(
        lambda: committed.items() <= dict(net.front(gateway.name)).items(), f"{gateway.name}: all rows in the front", timeout_s
    )
    front = net.front(gateway.name)
    assert len(front) == len(dict(front)), "a row is stored twice"
    assert dict(front).items() <= gateway.committed().items(), "a row in the front was never committed"


@contextmanager
def sensor_on_a_pty(frames: Sequence[bytes], *, every_s: float = 0.2) -> Iterator[str]:
    """A device that repeats these frames on a pseudo-terminal; its path."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    path, ended = os.ttyname(slave), threading.Event()

    def speak() -> None:
        os.set_blocking(master, False)
        at = 0
        while not ended.wait(every_s):
            with suppress(BlockingIOError):
                os.write(master, frames[at % len(frames)])
            at += 1

    thread = threading.Thread(target=speak, daemon=True)
    thread.start()
    try:
        yield path
    finally:
        ended.set()
        thread.join()
        os.close(master)
        os.close(slave)


def patiently(seconds: float) -> None:
    """Lets the network run for a while: only where time itself is what a test is about."""
    time.sleep(seconds)
