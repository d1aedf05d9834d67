"""network.yaml in; virtual sensors out: pseudo-terminals, Modbus on serial lines and TCP, HTTP both ways, by their profiles.

What they feel is the synthetic day of edge/day.py. With a log, each answer served leaves one line: what was sent, when, and what
it means, so that an outside oracle can tell what a gateway ought to have stored.
"""

import json
import os
import select
import signal
import socketserver
import struct
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Protocol

from adapters.decode.checksums import crc16_modbus
from adapters.decode.modbus import framed
from edge.config import Network, SensorConfig, load_network
from edge.voice import Answer, Meter, Voice, meter, voice
from readings.errors import Stop

STREAM_S = 0.8
"""Between two frames of a sensor that talks by itself (Plantower's active mode: 0.2 to 0.8 s, 2.3 s while nothing changes)."""
PASSIVE_S = 10.0
"""So long after it was asked, a sensor only answers; then it talks by itself again, as after a power-on."""
REPLY_S = 0.02
LISTENER_S = 0.1
"""How often a pseudo-terminal that nobody reads is looked at: what is sent to nobody is lost, as on a real line."""
POST_S = 5.0
READS = (3, 4)
REQUEST_BYTES = 8
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, NO_SUCH_UNIT = 1, 2, 3, 11
"""Modbus exceptions (Modbus application protocol V1.1b3, section 7)."""


class Journal:
    """One NDJSON line per answer served. Without a path nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._file: IO[str] | None = path.open("a", encoding="utf-8") if path else None
        self._lock = threading.Lock()

    def served(self, sensor: str, answer: Answer) -> None:
        """Called when the last byte has been sent."""
        if self._file is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": now, "sensor": sensor, **answer.shown, "values": answer.values}
        with self._lock:
            self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
            self._file.flush()

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class Device(Protocol):
    """Something that can be plugged in and pulled out."""

    def open(self) -> None: ...

    def close(self) -> None: ...


class Pty:
    """A pseudo-terminal behind a link at the path of an address. `_run` is its thread, until `_stop` is set."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._master, self._name = -1, ""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"tty {name}", daemon=True)

    def open(self) -> None:
        """Raises Stop when something that is no link stands at the path."""
        if self._path.exists() and not self._path.is_symlink():
            raise Stop("is there already and is no link", what=str(self._path), hint="name another path in `at:`")
        self._master, slave = os.openpty()
        tty.setraw(slave)  # kept by the kernel as long as the master is open
        self._name = os.ttyname(slave)
        os.close(slave)
        os.set_blocking(self._master, False)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self._name)
        fresh.replace(self._path)
        self._thread.start()

    def close(self) -> None:
        """Pulled out: the link goes, a reader sees end of file."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._path.is_symlink() and str(self._path.readlink()) == self._name:
            self._path.unlink()
        if self._master >= 0:
            os.close(self._master)
            self._master = -1

    def _run(self) -> None:
        raise NotImplementedError

    def _heard(self, poll: select.poll) -> bytes | None:
        """What a reader wrote within a moment; None when nobody has the other end open."""
        if any(event & select.POLLHUP for _, event in poll.poll(0)):
            self._stop.wait(LISTENER_S)
            return None
        return self._drain() if poll.poll(LISTENER_S * 1000) else b""

    def _drain(self) -> bytes:
        """What a reader wrote. Nothing on a hang-up, which the next poll reports."""
        try:
            return os.read(self._master, 4096)
        except (BlockingIOError, OSError):
            return b""

    def _written(self, raw: bytes) -> bool:
        """Whether all of it went out: what does not fit whole is lost, as in the buffer of a reader that sleeps."""
        try:
            return os.write(self._master, raw) == len(raw)
        except BlockingIOError:
            return False


class Terminal(Pty):
    """Sends frames by itself, and one at once for each `ask`; obeys its profile's commands. Asleep it is silent."""

    def __init__(self, path: Path, sensor: str, speak: Voice, journal: Journal) -> None:
        super().__init__(path, sensor)
        self._sensor, self._voice, self._journal = sensor, speak, journal

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        heard, due, passive_until = b"", 0.0, 0.0
        while not self._stop.is_set():
            now = time.monotonic()
            if any(event & select.POLLHUP for _, event in poll.poll(0)):
                heard = b""
                self._stop.wait(LISTENER_S)
                continue
            if now >= max(due, passive_until) and not self._voice.asleep:
                self._send()
                due = now + STREAM_S
            if not poll.poll(LISTENER_S * 1000):
                continue
            heard = (heard + self._drain())[-256:]
            while (told := self._voice.obey(heard))[1] is not None:
                heard, answer, asks = told
                self._stop.wait(REPLY_S)
                if answer:
                    self._written(answer)
                if asks:
                    passive_until = time.monotonic() + PASSIVE_S
                    self._send()

    def _send(self) -> None:
        """Only a whole frame is logged."""
        answer = self._voice.say()
        if self._written(answer.raw):
            self._journal.served(self._sensor, answer)


Meters = Mapping[int, tuple[str, Meter]]
"""Unit -> the sensor's id and its registers."""
Served = tuple[str, Mapping[str, float | None]]


def answered(meters: Meters, unit: int, request: bytes) -> tuple[bytes, Served | None]:
    """Function and data of a unit's response, and what to log when it held registers. Writes only what its profile commands."""
    function = request[0]
    if unit not in meters:
        return bytes((function | 0x80, NO_SUCH_UNIT)), None
    sensor, one = meters[unit]
    if obeyed := one.obeys(request):
        return obeyed, None
    if function not in READS or function not in one.functions:
        return bytes((function | 0x80, ILLEGAL_FUNCTION)), None
    if len(request) != 5:
        return bytes((function | 0x80, ILLEGAL_VALUE)), None
    first, count = struct.unpack(">HH", request[1:])
    if not 1 <= count <= 125:
        return bytes((function | 0x80, ILLEGAL_VALUE)), None
    read = one.read(function, first, count)
    if read is None:
        return bytes((function | 0x80, ILLEGAL_ADDRESS)), None
    words, values = read
    return struct.pack(f">BB{count}H", function, 2 * count, *words), (sensor, values)


class SerialBus(Pty):
    """Modbus RTU on one pseudo-terminal; each unit is one meter. Who is not here keeps silent, as on a real line."""

    def __init__(self, path: Path, meters: Meters, journal: Journal) -> None:
        super().__init__(path, str(path))
        self._meters, self._journal = meters, journal

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._master, select.POLLIN)
        heard = b""
        while not self._stop.is_set():
            more = self._heard(poll)
            heard = b"" if more is None else (heard + more)[-256:]
            at = 0
            while at + REQUEST_BYTES <= len(heard):
                frame = heard[at : at + REQUEST_BYTES]
                if crc16_modbus(frame[:-2]) != int.from_bytes(frame[-2:], "little"):
                    at += 1
                    continue
                at += REQUEST_BYTES
                self._answer(frame[0], frame[1:-2])
            heard = heard[at:]

    def _answer(self, unit: int, request: bytes) -> None:
        if unit not in self._meters:
            return
        self._stop.wait(REPLY_S)
        body, served = answered(self._meters, unit, request)
        frame = framed(unit, body, self._meters[unit][1].crc_order)
        if self._written(frame) and served is not None:
            sensor, values = served
            self._journal.served(sensor, Answer(frame, {"hex": frame.hex()}, values))


class ModbusServer:
    """Modbus TCP on one host and port; each unit is one meter. Answers function 3 and 4."""

    def __init__(self, host: str, port: int, meters: Meters, journal: Journal) -> None:
        self._meters, self._journal = meters, journal
        outer = self

        class Conversation(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                outer._converse(self.rfile.read, self._answer)

            def _answer(self, frame: bytes) -> None:
                self.wfile.write(frame)

        self._serving = _Serving(host, port, lambda address: _TcpServer(address, Conversation))

    def open(self) -> None:
        self._serving.open()

    def close(self) -> None:
        self._serving.close()

    def _converse(self, read: Callable[[int], bytes], write: Callable[[bytes], None]) -> None:
        """Requests of one connection until it ends or sends something that is no Modbus."""
        while len(head := read(7)) == 7:
            transaction, protocol, length, unit = struct.unpack(">HHHB", head)
            if protocol != 0 or not 2 <= length <= 254:
                return
            request = read(length - 1)
            if len(request) < length - 1:
                return
            body, served = answered(self._meters, unit, request)
            frame = struct.pack(">HHHB", transaction, 0, len(body) + 1, unit) + body
            write(frame)
            if served is not None:
                sensor, values = served
                self._journal.served(sensor, Answer(frame, {"hex": frame.hex()}, values))


class WebServer:
    """HTTP on one host and port; each path is one sensor that answers GET with its JSON."""

    def __init__(self, host: str, port: int, pages: Mapping[str, tuple[str, Voice]], journal: Journal) -> None:
        class Conversation(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 60

            def do_GET(self) -> None:
                found = pages.get(self.path)
                if found is None:
                    self.send_error(404)
                    return
                sensor, speak = found
                answer = speak.say()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer.raw)))
                self.end_headers()
                self.wfile.write(answer.raw)
                self.wfile.flush()
                journal.served(sensor, answer)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is printed on every normal answer."""

        self._serving = _Serving(host, port, lambda address: _HttpServer(address, Conversation))

    def open(self) -> None:
        self._serving.open()

    def close(self) -> None:
        self._serving.close()


class Poster:
    """A sensor that posts to a gateway's `listen:`; a post that nobody takes is lost."""

    def __init__(self, sensor: SensorConfig, speak: Voice, journal: Journal) -> None:
        self._sensor, self._voice, self._journal = sensor, speak, journal
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"post {sensor.id}", daemon=True)

    def open(self) -> None:
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(POST_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            answer = self._voice.say()
            pause_s = self._sensor.every_s
            if self._taken(answer.raw):
                self._journal.served(self._sensor.id, answer)
            else:
                pause_s = min(pause_s, 1.0)
            self._stop.wait(pause_s)

    def _taken(self, body: bytes) -> bool:
        address = self._sensor.address
        connection = HTTPConnection(address.host, address.port, timeout=POST_S)
        try:
            connection.request("POST", address.url, body, {"Content-Type": "application/json"})
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()


class _Quiet:
    """A client that hangs up is daily life, not a traceback."""

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError):
            sys.excepthook(*sys.exc_info())


class _TcpServer(_Quiet, socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


class _HttpServer(_Quiet, ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


class _Serving:
    """A socketserver in a thread of its own."""

    def __init__(self, host: str, port: int, make: Callable[[tuple[str, int]], socketserver.BaseServer]) -> None:
        self._address, self._make = (host, port), make
        self._server: socketserver.BaseServer | None = None

    def open(self) -> None:
        try:
            self._server = self._make(self._address)
        except OSError as error:
            at = f"{self._address[0]}:{self._address[1]}"
            raise Stop((error.strerror or str(error)).lower(), what=at, hint="name a free port of this machine") from error
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()

    def close(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


def devices(network: Network, journal: Journal) -> list[Device]:
    """One device per serial path, and one server per host and port. Raises Stop for a sensor that cannot be played."""
    made: list[Device] = []
    buses: dict[tuple[str, int], dict[int, tuple[str, Meter]]] = {}
    lines: dict[Path, dict[int, tuple[str, Meter]]] = {}
    sites: dict[tuple[str, int], dict[str, tuple[str, Voice]]] = {}
    for sensor in network.sensors:
        address, where = sensor.address, (sensor.address.host, sensor.address.port)
        if address.kind == "serial" and address.path is not None:
            made.append(Terminal(address.path, sensor.id, voice(sensor, network.seed), journal))
        elif address.kind == "modbus-rtu" and address.path is not None and address.unit is not None:
            lines.setdefault(address.path, {})[address.unit] = (sensor.id, meter(sensor, network.seed))
        elif address.kind == "listen":
            made.append(Poster(sensor, voice(sensor, network.seed), journal))
        elif address.kind == "modbus-tcp" and address.unit is not None:
            buses.setdefault(where, {})[address.unit] = (sensor.id, meter(sensor, network.seed))
        elif address.kind == "http":
            target = address.url.split("/", 3)[3]
            sites.setdefault(where, {})[f"/{target}"] = (sensor.id, voice(sensor, network.seed))
        else:
            raise _unplayable(network, sensor)
    made.extend(SerialBus(path, meters, journal) for path, meters in lines.items())
    made.extend(ModbusServer(*where, meters, journal) for where, meters in buses.items())
    made.extend(WebServer(*where, pages, journal) for where, pages in sites.items())
    _one_per_port(network)
    return made


def _unplayable(network: Network, sensor: SensorConfig) -> Stop:
    hint = "serial:PATH, modbus-rtu:PATH, modbus-tcp://HOST:PORT, http://HOST:PORT/PATH and listen:/PATH can"
    return Stop(f"{sensor.address.kind}: cannot be simulated", what=f"{network.file}: sensors.{sensor.id}", hint=hint)


def _one_per_port(network: Network) -> None:
    """Raises Stop when two sensors want one port in a way that no simulator can play."""
    taken: dict[object, str] = {}
    for sensor in network.sensors:
        if (other := taken.setdefault(sensor.address.identity, sensor.id)) != sensor.id:
            what = f"{network.file}: sensors.{sensor.id}"
            raise Stop(f"has the address of {other}", what=what, hint="give each virtual sensor its own address")


@contextmanager
def playing(network: Network, log: Path | None = None) -> Iterator[None]:
    """All devices are open inside the block and gone after it."""
    journal = Journal(log)
    with ExitStack() as stack:
        stack.callback(journal.close)
        for device in devices(network, journal):
            stack.callback(device.close)
            device.open()
        yield


def simulate(path: Path, log: Path | None = None) -> int:
    """The command: plays network.yaml, prints `ready` when all is open, until SIGTERM or Ctrl-C; the exit code."""
    network = load_network(path)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with playing(network, log):
        print("ready", flush=True)
        stop.wait()
    return 0
