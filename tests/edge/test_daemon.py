"""The whole daemon on real pseudo-terminals, HTTP and Modbus TCP, a real card and a real control socket."""

import contextlib
import json
import os
import pty
import random
import select
import signal
import socketserver
import struct
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from adapters.catalogue import Catalogue
from adapters.transport.base import parse_address
from adapters.transport.mqtt import Client
from edge.config import Config, Credential, Hub, Link, SensorConfig, Site, Store, load_credential
from edge.control import ask
from edge.daemon import Daemon
from edge.outbox import Outbox
from readings.batch import decode, read_header
from readings.errors import Stop, Trouble
from readings.messages import Ack, Answer, Hello, Window, down_topic, hello_topic, read_hello, seal, up_topic
from readings.ranges import Ranges
from readings.row import Row
from tests.servers import Mosquitto, absent, free_port, wait_until

Plug = Callable[[str], "Plantower"]
CATALOGUE = Catalogue.load()
ASK = bytes.fromhex("424de200000171")
EVERY_S = 0.1
HARMATTAN_EDGE = (sys.executable, "-c", "from edge.cli import main; main()")


class Plantower:
    """A PMS5003 behind a link to a pseudo-terminal: answers each question with a frame whose PM2.5 counts up from 1."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.served: list[int] = []
        self.answer: Callable[[int], bytes] = frame
        self._end = threading.Event()
        self._thread: threading.Thread
        self.plug()

    def plug(self) -> None:
        self._master, slave = pty.openpty()
        tty.setraw(slave)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(slave))
        self._slave = slave
        self._end.clear()
        self._thread = threading.Thread(target=self._serve, args=(self._master,), daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        if self._end.is_set():
            return
        self._end.set()
        self._thread.join()
        self.path.unlink()
        os.close(self._slave)
        os.close(self._master)

    def _serve(self, master: int) -> None:
        heard = b""
        while not self._end.is_set():
            if not select.select([master], [], [], 0.02)[0]:
                continue
            heard += os.read(master, 100)
            if ASK in heard:
                heard = b""
                number = len(self.served) + 1
                if said := self.answer(number):
                    os.write(master, said)
                    self.served.append(number)


def frame(pm2_5: int) -> bytes:
    words = [5, pm2_5, 9, 5, pm2_5, 9, 900, 300, 100, 10, 2, 1, 0x9700]
    body = bytes.fromhex("424d001c") + b"".join(word.to_bytes(2, "big") for word in words)
    return body + sum(body).to_bytes(2, "big")


@pytest.fixture
def plantower(tmp_path: Path) -> Iterator[Plug]:
    """Plugs a new device in, by the name of its port."""
    devices: list[Plantower] = []

    def plug(port: str) -> Plantower:
        devices.append(Plantower(tmp_path / port))
        return devices[-1]

    yield plug
    for device in devices:
        device.unplug()


class Box(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"pm02": 12.5, "atmp": 21.25, "rhum": 40, "rco2": 420, "wifi": -50}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def box() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Box)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/measures/current"
    server.shutdown()
    server.server_close()


def sensor(name: str, profile: str, at: str, every_s: float = EVERY_S) -> SensorConfig:
    known = CATALOGUE.get(profile)
    quick = replace(known, link=replace(known.link, reply_timeout_s=0.2))
    return SensorConfig(name, quick, parse_address(at, Path("/")), every_s)


def config(folder: Path, *sensors: SensorConfig, hub: Hub | None = None) -> Config:
    return Config(
        file=folder / "gateway.yaml",
        gateway="gate-01",
        site=Site("gate", 6.5, 3.4),
        hub=hub,
        link=Link(flush_s=0.2),
        store=Store(folder / "outbox.db"),
        control=folder / "edge.sock",
        profiles=(),
        sensors=sensors,
        quality={},
    )


class Running:
    """A daemon in a thread of this process, asked through its socket."""

    def __init__(self, settings: Config, credential: Credential | None) -> None:
        self.settings = settings
        self.daemon = Daemon(settings, credential, version="0.1.0")
        self.ended: list[object] = []
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.ended.append(self.daemon.run())
        except Trouble as trouble:
            self.ended.append(trouble)

    def status(self) -> dict[str, Any]:
        return next(iter(ask(self.settings.control, {"ask": "status"})))

    def sensor(self, name: str) -> dict[str, Any]:
        return next(s for s in self.status()["sensors"] if s["id"] == name)

    def until(self, name: str, state: str) -> dict[str, Any]:
        wait_until(lambda: self.sensor(name)["state"] == state, f"{name} to be {state}", 10)
        return self.sensor(name)

    def stop(self) -> None:
        self.daemon.stop()
        self.thread.join(10)
        assert not self.thread.is_alive()


@contextlib.contextmanager
def running(settings: Config, credential: Credential | None = None) -> Iterator[Running]:
    it = Running(settings, credential)
    wait_until(lambda: settings.control.exists() or bool(it.ended), "the daemon", 10)
    try:
        yield it
    finally:
        it.stop()
    assert it.ended == [0]


def on_card(folder: Path) -> list[tuple[str, int, Row]]:
    with Outbox.read(folder / "outbox.db") as card:
        return [(stream, seq, row) for stream, lo, hi in card.streams() for seq, row in card.rows(stream, lo, hi)]


def counted(folder: Path, name: str) -> list[int]:
    """PM2.5 of a Plantower's samples on the card, in order."""
    return [row.values[4] for _, _, row in on_card(folder) if row.kind == "sample" and row.sensor == name]


def states(folder: Path, name: str) -> list[str]:
    events = [row.values for _, _, row in on_card(folder) if row.kind == "event" and row.sensor == name]
    return [event["state"] for event in events if event["event"] == "sensor_state"]


def test_sensors_of_every_kind_are_sampled_and_committed(tmp_path: Path, plantower: Plug, box: str) -> None:
    plantower("tty")
    settings = config(
        tmp_path, sensor("pm", "plantower.pms5003", f"serial:{tmp_path}/tty"), sensor("box", "airgradient.local", box)
    )
    with running(settings) as daemon:
        daemon.until("pm", "ok")
        values = daemon.until("box", "ok")["values"]
        assert (values["pm2_5"], values["temperature"], values["nox_raw"]) == (12.5, 21.25, None)
        wait_until(lambda: daemon.status()["outbox"]["rows"] > 10, "rows")
        status = daemon.status()
        assert (status["gateway"], status["disk"], status["uplink"]["state"]) == ("gate-01", "ok", "none")
        lines = list(ask(settings.control, {"ask": "tail", "sensor": "pm", "n": 3}))
        assert [line["sensor"] for line in lines] == ["pm"] * 3
    rows = on_card(tmp_path)
    assert [row.kind for _, _, row in rows[:3]] == ["event", "schema", "schema"]
    assert rows[0][2].values["site"] == {"name": "gate", "lat": 6.5, "lon": 3.4, "alt_m": None, "zone": None}
    pm = counted(tmp_path, "pm")
    assert pm == list(range(1, len(pm) + 1))


@pytest.mark.parametrize(
    ("fault", "state", "then"),
    [(lambda n: b"", "no_answer", "warming_up"), (lambda n: b"\x00\xff" * 40, "garbage", "ok")],
    ids=["silent", "garbage"],
)
def test_a_bad_sensor_is_a_state_and_costs_the_others_no_sample(
    tmp_path: Path, plantower: Plug, fault: Callable[[int], bytes], state: str, then: str
) -> None:
    """One that kept silent was woken, in case it slept: its warm-up counts from there."""
    good, bad = plantower("good"), plantower("bad")
    settings = config(
        tmp_path,
        sensor("bad", "plantower.pms5003", f"serial:{tmp_path}/bad"),
        sensor("good", "plantower.pms5003", f"serial:{tmp_path}/good"),
    )
    with running(settings) as daemon:
        daemon.until("bad", "ok")
        bad.answer = fault
        told = daemon.until("bad", state)
        assert told["why"]
        assert set(told["flags"].values()) == {9}
        assert told["values"]["pm2_5"]
        seen = len(good.served)
        wait_until(lambda: len(good.served) > seen + 10, "ten more samples of the good one")
        assert daemon.sensor("good")["state"] == "ok"
        bad.answer = frame
        daemon.until("bad", then)
    assert states(tmp_path, "bad") == [state, then]
    assert states(tmp_path, "good") == []
    assert counted(tmp_path, "good") == good.served
    walls = [row.wall_ms for _, _, row in on_card(tmp_path) if row.sensor == "good" and row.kind == "sample"]
    assert max(b - a for a, b in pairwise(walls)) < 1000 * EVERY_S * 2.5


class Meters(socketserver.BaseRequestHandler):
    """Modbus TCP: unit 1 answers zeros, all others keep silent."""

    def handle(self) -> None:
        while request := self.request.recv(12):
            number, _, _, unit, function, _, words = struct.unpack(">HHHBBHH", request)
            if unit == 1:
                self.request.sendall(
                    struct.pack(">HHHBBB", number, 0, 3 + 2 * words, unit, function, 2 * words) + bytes(2 * words)
                )


class Dripping(socketserver.BaseRequestHandler):
    """HTTP, one byte at a time."""

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b" " * 1000:
                self.request.sendall(bytes([byte]))
                time.sleep(0.05)


@contextlib.contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_dead_meters_and_dripping_boxes_cost_nobody_a_sample(tmp_path: Path, plantower: Plug) -> None:
    good = plantower("good")
    with serving(Meters) as modbus, serving(Dripping) as http:
        settings = config(
            tmp_path,
            sensor("dead", "eastron.sdm230", f"modbus-tcp://127.0.0.1:{modbus}?unit=2"),
            sensor("alive", "eastron.sdm230", f"modbus-tcp://127.0.0.1:{modbus}?unit=1", 0.2),
            sensor("drip", "airgradient.local", f"http://127.0.0.1:{http}/x"),
            sensor("good", "plantower.pms5003", f"serial:{tmp_path}/good"),
        )
        with running(settings) as daemon:
            daemon.until("alive", "ok")
            daemon.until("dead", "no_answer")
            wait_until(lambda: daemon.sensor("drip")["state"] in ("no_answer", "garbage"), "the box to be told slow", 10)
            wait_until(lambda: len(good.served) > 30, "thirty samples", 10)
            assert daemon.sensor("alive")["state"] == "ok"
    assert counted(tmp_path, "good") == good.served
    for name, every_s in (("alive", 0.2), ("good", 0.1)):
        monos = [row.mono_ns or 0 for _, _, row in on_card(tmp_path) if row.sensor == name and row.kind == "sample"]
        assert max(b - a for a, b in pairwise(monos)) / 1e9 < 2.5 * every_s


def test_a_sensor_that_is_plugged_out_and_in_again_comes_back(tmp_path: Path, plantower: Plug) -> None:
    good, moved = plantower("good"), plantower("moved")
    settings = config(
        tmp_path,
        sensor("moved", "plantower.pms5003", f"serial:{tmp_path}/moved"),
        sensor("good", "plantower.pms5003", f"serial:{tmp_path}/good"),
    )
    with running(settings) as daemon:
        daemon.until("moved", "ok")
        moved.unplug()
        daemon.until("moved", "unplugged")
        moved.plug()
        daemon.until("moved", "ok")
        daemon.until("good", "ok")
    assert states(tmp_path, "moved") == ["unplugged", "ok"]
    assert counted(tmp_path, "moved") == moved.served
    assert counted(tmp_path, "good") == good.served


def test_an_absent_device_is_waited_for(tmp_path: Path, plantower: Plug) -> None:
    settings = config(
        tmp_path,
        sensor("pm", "plantower.pms5003", f"serial:{tmp_path}/tty"),
        sensor("meter", "eastron.sdm230", f"modbus-tcp://127.0.0.1:{free_port()}?unit=1"),
        sensor("box", "airgradient.local", f"http://127.0.0.1:{free_port()}/x"),
    )
    with running(settings) as daemon:
        assert daemon.until("pm", "unplugged")["hint"]
        wait_until(lambda: daemon.sensor("meter")["state"] != "starting", "the meter's state")
        wait_until(lambda: daemon.sensor("box")["state"] != "starting", "the box's state")
        assert {daemon.sensor(s)["state"] for s in ("meter", "box")} <= {"refused", "no_answer"}
        plantower("tty")
        daemon.until("pm", "ok")


def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path: Path, plantower: Plug, small_disk: Path) -> None:
    device = plantower("tty")
    settings = replace(
        config(tmp_path, sensor("pm", "plantower.pms5003", f"serial:{tmp_path}/tty")), store=Store(small_disk / "outbox.db")
    )
    with running(settings) as daemon:
        daemon.until("pm", "ok")
        hog = fill(small_disk)
        wait_until(lambda: daemon.status()["disk"] == "refused", "the refusal", 10)
        assert "full" in daemon.status()["disk_why"]
        seen = len(device.served)
        wait_until(lambda: len(device.served) > seen + 5, "sampling to go on")
        hog.unlink()
        wait_until(lambda: daemon.status()["disk"] != "refused", "the recovery", 10)
    assert counted(small_disk, "pm") == device.served
    told = [row.values for _, _, row in on_card(small_disk) if row.kind == "event" and row.values["event"] == "commits_refused"]
    assert told
    assert told[0]["dropped"] == 0


def test_a_card_file_that_vanishes_under_the_daemon_is_replaced(tmp_path: Path, plantower: Plug) -> None:
    device = plantower("tty")
    with running(config(tmp_path, sensor("pm", "plantower.pms5003", f"serial:{tmp_path}/tty"))) as daemon:
        daemon.until("pm", "ok")
        (tmp_path / "outbox.db").unlink()
        gone_at = len(device.served)
        wait_until(lambda: len(device.served) > gone_at + 8, "sampling to go on")
        wait_until(lambda: not list(tmp_path.glob("outbox.db.damaged-*")), "what its WAL still has to be salvaged", 10)
    kept = counted(tmp_path, "pm")
    assert kept == list(range(1, device.served[-1] + 1))
    events = [row.values["event"] for _, _, row in on_card(tmp_path) if row.kind == "event"]
    assert {"start", "card_damaged", "salvaged"} == set(events)


def test_a_gateway_without_a_credential_samples_and_is_not_enrolled(tmp_path: Path, plantower: Plug) -> None:
    plantower("tty")
    hub = Hub((f"mqtt://127.0.0.1:{free_port()}",), tmp_path / "credential")
    settings = config(tmp_path, sensor("pm", "plantower.pms5003", f"serial:{tmp_path}/tty"), hub=hub)
    with running(settings) as daemon:
        daemon.until("pm", "ok")
        assert daemon.status()["uplink"]["state"] == "not_enrolled"


def test_a_credential_that_comes_later_starts_the_link(tmp_path: Path, plantower: Plug, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.daemon.LOOK_S", 0.1)
    plantower("tty")
    hub = Hub((f"mqtt://127.0.0.1:{free_port()}",), tmp_path / "credential")
    settings = config(tmp_path, sensor("pm", "plantower.pms5003", f"serial:{tmp_path}/tty"), hub=hub)
    with running(settings) as daemon:
        daemon.until("pm", "ok")
        enrol(tmp_path, "gate-01")
        wait_until(lambda: daemon.status()["uplink"]["state"] in ("connecting", "offline"), "the link to start")
        wait_until(lambda: "nobody listens" in daemon.status()["uplink"]["why"], "the reason")


def enrol(folder: Path, gateway: str) -> None:
    made = {"gateway": gateway, "password": "secret", "key": "00" * 32, "key_version": 1, "ca": None}
    (folder / "made").write_text(json.dumps(made))
    (folder / "made").chmod(0o600)
    (folder / "made").rename(folder / "credential")


class Hub1:
    """The least of a hub: answers each hello with what it holds, acks each message."""

    def __init__(self, url: str, gateway: str) -> None:
        self.gateway = gateway
        self.held: dict[str, Ranges] = {}
        self.rows: dict[tuple[str, int], Row] = {}
        self.client = Client(url, client_id="hub", on_message=self._heard)
        self.client.subscribe([(up_topic(gateway), 1), (hello_topic(gateway), 1)])
        self.client.start()

    def _heard(self, topic: str, payload: bytes, ack: Callable[[], None]) -> None:
        ack()
        if topic == up_topic(self.gateway):
            header = read_header(payload)
            self.rows |= {(header.stream, seq): row for seq, row in enumerate(decode(payload), header.lo)}
            held = self.held[header.stream] = self.held[header.stream] | Ranges([(header.lo, header.hi)])
            self._say(Ack("i", header.stream, (header.lo, header.hi), pairs(held), [], Window(2, 32768)))
        elif isinstance(hello := read_hello(payload), Hello):
            for stream, _, _ in hello.streams:
                self.held.setdefault(stream, Ranges())
            held_now = {stream: pairs(self.held[stream]) for stream, _, _ in hello.streams}
            self._say(Answer(hello.nonce, "i", time.time_ns() // 10**6, held_now, {}, {}, Window(2, 32768), 0))

    def _say(self, message: Answer | Ack) -> None:
        topic = down_topic(self.gateway)
        self.client.publish(topic, seal(message, topic=topic, key=bytes(32), key_version=1))


def pairs(ranges: Ranges) -> list[tuple[int, int]]:
    return [(lo, hi) for lo, hi in ranges]


@pytest.mark.server
def test_committed_rows_reach_a_hub_and_nothing_stays_pending(tmp_path: Path, plantower: Plug, mosquitto: Mosquitto) -> None:
    plantower("tty")
    enrol(tmp_path, "gate-01")
    hub = Hub1(mosquitto.url, "gate-01")
    settings = config(
        tmp_path, sensor("pm", "plantower.pms5003", f"serial:{tmp_path}/tty"), hub=Hub((mosquitto.url,), tmp_path / "credential")
    )
    credential = load_credential(tmp_path / "credential", "gate-01")
    with running(settings, credential) as daemon:
        wait_until(lambda: daemon.status()["uplink"]["state"] == "online", "the link", 15)
        wait_until(lambda: len(hub.rows) > 20, "rows at the hub", 15)
        wait_until(lambda: daemon.status()["outbox"]["pending"] < 10, "few to be pending", 15)
    hub.client.stop()
    sent = hub.rows
    assert {(stream, seq): row for stream, seq, row in on_card(tmp_path) if (stream, seq) in sent} == sent


def test_a_second_daemon_on_one_card_or_socket_is_told_the_pid(tmp_path: Path, plantower: Plug) -> None:
    plantower("tty")
    settings = config(tmp_path, sensor("pm", "plantower.pms5003", f"serial:{tmp_path}/tty"))
    with running(settings):
        with pytest.raises(Stop, match=f"in use by the daemon with pid {os.getpid()}"):
            Daemon(replace(settings, control=tmp_path / "other.sock"), None, version="0.1.0").run()
        with pytest.raises(Stop, match=f"in use by the daemon with pid {os.getpid()}"):
            Daemon(replace(settings, store=Store(tmp_path / "other.db")), None, version="0.1.0").run()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(place: Path) -> Path:
    hog = place / "hog"
    with hog.open("wb", buffering=0) as out, contextlib.suppress(OSError):
        while True:
            out.write(bytes(1024))
    return hog


class Command:
    """`harmattan-edge run` as a process of its own."""

    def __init__(self, folder: Path, *words: str, more: str = "") -> None:
        self.folder = folder
        (folder / "gateway.yaml").write_text(f"""\
gateway: gate-01
store: {{path: outbox.db}}
control: edge.sock
link: {{mode: open, flush: 1s}}
sensors:
  - {{id: pm, profile: plantower.pms5003, at: "serial:{folder}/tty", every: 100ms}}
{more}""")
        run = [*words, *HARMATTAN_EDGE, "run", str(folder / "gateway.yaml")]
        self.process = subprocess.Popen(run, stderr=subprocess.PIPE, text=True)

    def until_ok(self) -> None:
        wait_until(lambda: self.sensor(0) == "ok", "the sensor to be ok", 20)

    def sensor(self, index: int) -> str:
        """The state of the n-th sensor, "" while the daemon does not answer."""
        try:
            status = next(iter(ask(self.folder / "edge.sock", {"ask": "status"})))
        except Trouble:
            return ""
        return str(status["sensors"][index]["state"])

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        _, said = self.process.communicate(timeout=15)
        return self.process.returncode, said


def test_sigterm_commits_what_waits_and_exits_0(tmp_path: Path, plantower: Plug) -> None:
    device = plantower("tty")
    command = Command(tmp_path)
    command.until_ok()
    code, said = command.end(signal.SIGTERM)
    assert code == 0, said
    assert not (tmp_path / "edge.sock").exists()
    assert not (tmp_path / "outbox.db-wal").exists()
    assert counted(tmp_path, "pm") == device.served


def test_kill_9_loses_no_committed_row_and_the_next_start_goes_on(tmp_path: Path, plantower: Plug) -> None:
    device = plantower("tty")
    draw = random.Random(9)
    seen: dict[tuple[str, int], Row] = {}
    for _ in range(3):
        command = Command(tmp_path)
        command.until_ok()
        time.sleep(draw.uniform(0.8, 1.5))
        seen |= {(stream, seq): row for stream, seq, row in on_card(tmp_path)}
        command.end(signal.SIGKILL)
    rows = {(stream, seq): row for stream, seq, row in on_card(tmp_path)}
    assert all(rows[identity] == row for identity, row in seen.items())
    assert len({stream for stream, _ in rows}) == 3
    numbers = counted(tmp_path, "pm")
    assert len(numbers) == len(set(numbers))
    assert set(numbers) <= set(device.served)


def test_a_card_that_takes_its_time_delays_no_sensor(tmp_path: Path, plantower: Plug) -> None:
    device = plantower("tty")
    slow = ("strace", "-f", "-o", "/dev/null", "-e", "trace=fdatasync,fsync", "-e", "inject=fdatasync,fsync:delay_exit=300000")
    try:
        command = Command(tmp_path, *slow)
    except FileNotFoundError:
        absent("strace")
    wait_until(lambda: len(device.served) > 25, "samples", 40)
    os.kill(int((tmp_path / "outbox.db.lock").read_text()), signal.SIGTERM)
    _, said = command.process.communicate(timeout=30)
    assert counted(tmp_path, "pm") == device.served, said
    monos = [row.mono_ns or 0 for _, _, row in on_card(tmp_path) if row.kind == "sample"]
    gaps_s = [(b - a) / 1e9 for a, b in pairwise(monos)]
    assert max(gaps_s) < 0.3, "less than one fsync's time"
    assert len(gaps_s) > 0.9 * sum(gaps_s) / 0.1


def test_a_failing_fsync_ends_the_daemon_with_75(tmp_path: Path, plantower: Plug) -> None:
    plantower("tty")
    inject = ("strace", "-f", "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO:when=9+")
    try:
        command = Command(tmp_path, *inject)
    except FileNotFoundError:
        absent("strace")
    _, said = command.process.communicate(timeout=60)
    assert command.process.returncode == 75
    assert "SQLITE_IOERR_FSYNC" in said


def test_serial_modbus_and_http_together_stay_small(tmp_path: Path, plantower: Plug, box: str) -> None:
    plantower("tty")
    command = Command(
        tmp_path,
        more=f"""\
  - {{id: meter, profile: eastron.sdm230, at: "modbus-tcp://127.0.0.1:{free_port()}?unit=1", every: 100ms}}
  - {{id: box, profile: airgradient.local, at: "{box}", every: 100ms}}
""",
    )
    command.until_ok()
    wait_until(lambda: command.sensor(1) != "starting" and command.sensor(2) == "ok", "all three", 20)
    status = Path(f"/proc/{command.process.pid}/status").read_text()
    rss_kb = int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])
    code, said = command.end(signal.SIGTERM)
    assert code == 0, said
    assert rss_kb < 45_000


@pytest.mark.parametrize(
    ("store", "code", "why"),
    [
        ("nowhere/outbox.db", 75, "nowhere: the store's folder is missing"),
        ("/proc/outbox.db", 75, "/proc: the store's folder"),
        (".", 2, "is a folder; name a file, as in store: {path: "),
    ],
)
def test_a_store_that_cannot_be_used_is_named(tmp_path: Path, store: str, code: int, why: str) -> None:
    (tmp_path / "gateway.yaml").write_text(f"""\
gateway: gate-01
store: {{path: {store}}}
control: edge.sock
link: {{mode: open, flush: 1s}}
sensors: [{{id: pm, profile: plantower.pms5003, at: "serial:/dev/ttyUSB9"}}]
""")
    run = [*HARMATTAN_EDGE, "run", str(tmp_path / "gateway.yaml")]
    done = subprocess.run(run, capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, why in done.stderr) == (code, True), done.stderr
