"""The running daemon's snapshot in; answers to the command line out, over a Unix socket: one JSON request, JSON lines back.

`{"ask":"status"}` one document · `{"ask":"tail","sensor":null,"n":10,"follow":true}` samples, oldest first, then those that come
· `{"ask":"pid"}`. The core is never asked: it publishes immutable snapshots, and this thread reads the newest.
"""

import contextlib
import logging
import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from readings.errors import Retry, Stop, Trouble, Wait
from readings.sample import rfc3339

log = logging.getLogger("edge.control")

MODE = 0o660
MAX_REQUEST_BYTES = 4096
MAX_CLIENTS = 16
REQUEST_S = 5.0
LOOK_S = 0.2
"""How often a following client looks for new samples."""
PATH_BYTES = 100
"""sun_path holds 107 bytes; longer paths are reached through their folder's descriptor."""


class SensorState(Struct, frozen=True):
    """One sensor as the core knows it. `seen_mono_s`: time.monotonic() when its newest sample came; `hint`: what to do."""

    id: str
    state: str
    at_ms: int | None = None
    seen_mono_s: float | None = None
    values: dict[str, float | None] = {}
    units: dict[str, str] = {}
    flags: dict[str, int] = {}
    why: str = ""
    hint: str = ""


class LinkState(Struct, frozen=True):
    """The uplink: online, connecting, offline, not_enrolled or none. `next_try_s` counts from the snapshot's time."""

    state: str = "none"
    since_ms: int | None = None
    next_try_s: float | None = None
    why: str = ""
    alarms: tuple[str, ...] = ()


class Counted(Struct, frozen=True):
    """Rows of this card: committed ever, named by tombstones, found damaged; items that were dropped before they were rows."""

    produced: int = 0
    tombstoned: int = 0
    damaged: int = 0
    dropped: int = 0


class Snapshot(Struct, frozen=True):
    """All that `status` tells, as of one moment (`taken_mono_s` = time.monotonic()). `disk`: ok, or a word with its why."""

    gateway: str
    version: str
    taken_mono_s: float
    sensors: tuple[SensorState, ...] = ()
    rows: int = 0
    bytes: int = 0
    pending: int = 0
    uplink: LinkState = LinkState()
    clock: str = "unsynced"
    disk: str = "ok"
    disk_why: str = ""
    counted: Counted = Counted()


class Shown(Struct, frozen=True):
    """One sample as `tail` shows it, or (with `state`) that there is none and why. `no` counts up over all sensors of a life."""

    no: int
    sensor: str
    at_ms: int
    values: dict[str, float | None]
    units: dict[str, str]
    flags: dict[str, int]
    state: str = ""
    why: str = ""


class Request(Struct, frozen=True):
    ask: Literal["status", "tail", "pid"]
    sensor: str | None = None
    n: int = 10
    follow: bool = False


class NotRunning(Wait):
    """Nobody serves the socket."""


def status(snapshot: Snapshot, now_mono_s: float) -> dict[str, Any]:
    """The document that `status` prints: contract.md's keys, and `units`, `hint` and `alarms` for the table."""
    link = snapshot.uplink
    waited_s = max(0.0, now_mono_s - snapshot.taken_mono_s)
    next_try_s = None if link.next_try_s is None else round(max(0.0, link.next_try_s - waited_s), 1)
    return {
        "gateway": snapshot.gateway,
        "version": snapshot.version,
        "sensors": [_sensor(sensor, now_mono_s) for sensor in snapshot.sensors],
        "outbox": {"rows": snapshot.rows, "bytes": snapshot.bytes, "pending": snapshot.pending}
        | msgspec.structs.asdict(snapshot.counted),
        "uplink": {
            "state": link.state,
            "since": None if link.since_ms is None else rfc3339(link.since_ms),
            "next_try_s": next_try_s,
            "why": link.why,
        },
        "clock": snapshot.clock,
        "disk": snapshot.disk,
        "disk_why": snapshot.disk_why,
        "alarms": list(link.alarms),
    }


def _sensor(sensor: SensorState, now_mono_s: float) -> dict[str, Any]:
    return {
        "id": sensor.id,
        "state": sensor.state,
        "time": None if sensor.at_ms is None else rfc3339(sensor.at_ms),
        "age_s": None if sensor.seen_mono_s is None else round(max(0.0, now_mono_s - sensor.seen_mono_s), 1),
        "values": sensor.values,
        "units": sensor.units,
        "flags": sensor.flags,
        "why": sensor.why,
        "hint": sensor.hint,
    }


def tail_line(shown: Shown) -> dict[str, Any]:
    """One line of `tail`: the telemetry topic's shape with the sensor's id; `state` and `why` where there is no sample."""
    told = {"state": shown.state, "why": shown.why} if shown.state else {}
    return {
        "time": rfc3339(shown.at_ms),
        "sensor": shown.sensor,
        "values": shown.values,
        "units": shown.units,
        "flags": shown.flags,
        **told,
    }


class Server:
    """Serves the socket in threads of its own. `snapshot()` gives the newest; `recent()` the last samples, oldest first."""

    def __init__(self, path: Path, *, snapshot: Callable[[], Snapshot], recent: Callable[[], Sequence[Shown]]) -> None:
        self.path = path
        self._snapshot = snapshot
        self._recent = recent
        self._stopping = threading.Event()
        self._clients = threading.BoundedSemaphore(MAX_CLIENTS)
        self._listener: socket.socket | None = None
        self._inode = 0

    def start(self) -> None:
        """Raises Stop: another daemon serves there (its pid is named), or the path cannot be made."""
        _make_room(self.path)
        self._listener = _listen(self.path)
        self._inode = self.path.stat().st_ino
        threading.Thread(target=self._accept, args=(self._listener,), name="control", daemon=True).start()
        log.info("control listening path=%s", self.path)

    def stop(self) -> None:
        """Ends all conversations and removes the socket, unless another daemon has put its own there."""
        self._stopping.set()
        if self._listener is None:
            return
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = None
        with contextlib.suppress(OSError):
            if self.path.stat().st_ino == self._inode:
                self.path.unlink()

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            try:
                client, _ = listener.accept()
            except OSError as error:
                if self._stopping.wait(LOOK_S):  # no descriptors left: wait for some, do not spin
                    return
                log.warning("control accept failed why=%r", str(error))
                continue
            if self._clients.acquire(blocking=False):
                threading.Thread(target=self._serve, args=(client,), name="control-client", daemon=True).start()
            else:
                client.close()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                client.settimeout(REQUEST_S)
                for line in self._answers(_request_line(client)):
                    client.sendall(line + b"\n")
        except OSError:
            return  # the client went away
        except Exception:  # a client's task: its failure is logged and ends its conversation only
            log.exception("control answer failed")
        finally:
            self._clients.release()

    def _answers(self, raw: bytes) -> Iterator[bytes]:
        try:
            request = msgspec.json.decode(raw, type=Request)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            yield msgspec.json.encode({"error": f"no request: {error}"})
            return
        if request.ask == "pid":
            yield msgspec.json.encode({"pid": os.getpid()})
        elif request.ask == "status":
            yield msgspec.json.encode(status(self._snapshot(), time.monotonic()))
        else:
            yield from self._tail(request)

    def _tail(self, request: Request) -> Iterator[bytes]:
        known = [sensor.id for sensor in self._snapshot().sensors]
        if request.sensor is not None and request.sensor not in known:
            yield msgspec.json.encode({"error": f"no sensor {request.sensor}; sensors here are {', '.join(known)}"})
            return
        held = self._recent()
        last = held[-1].no if held else -1
        chosen = [shown for shown in held if request.sensor in (None, shown.sensor)]
        for shown in chosen[max(0, len(chosen) - max(0, request.n)) :]:
            yield msgspec.json.encode(tail_line(shown))
        while request.follow and not self._stopping.wait(LOOK_S):
            fresh = [shown for shown in self._recent() if shown.no > last]
            for shown in fresh:
                last = shown.no
                if request.sensor in (None, shown.sensor):
                    yield msgspec.json.encode(tail_line(shown))
            yield b"{}"  # so that a client that went away is noticed; clients skip it


def ask(path: Path, request: dict[str, Any], *, timeout_s: float = 5.0) -> Iterator[dict[str, Any]]:
    """The answers to one request, as they come. Raises NotRunning, Stop (no permission), Retry (no answer in time)."""
    what = f"control socket {path}"
    try:
        with _connect(path, timeout_s) as talk, talk.makefile("rb") as lines:
            talk.sendall(msgspec.json.encode(request) + b"\n")
            for line in lines:
                answer = msgspec.json.decode(line, type=dict[str, Any])
                if "error" in answer:
                    raise Stop(str(answer["error"]), what="daemon")
                if answer:
                    yield answer
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError) as error:
        raise NotRunning("no daemon answers there", what=what, hint="start it: systemctl start harmattan-edge") from error
    except PermissionError as error:
        hint = "run this with sudo, or add yourself to the group of the daemon's user"
        raise Stop("this user may not use it", what=what, hint=hint) from error
    except msgspec.DecodeError as error:
        raise Stop("it is not served by harmattan-edge", what=what, hint="correct --socket") from error
    except OSError as error:
        raise Retry(f"no answer: {error}", what=what, hint="is the daemon stopped or hanging? see its log") from error


def _request_line(client: socket.socket) -> bytes:
    raw = b""
    while b"\n" not in raw and len(raw) < MAX_REQUEST_BYTES:
        part = client.recv(MAX_REQUEST_BYTES)
        if not part:
            break
        raw += part
    return raw.partition(b"\n")[0]


def _make_room(path: Path) -> None:
    """Remove a stale socket. Raises Stop when it is alive, or no socket at all."""
    what = f"control socket {path}"
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise Stop((error.strerror or str(error)).lower(), what=what, hint="set control: to a path the daemon may use") from error
    if not stat.S_ISSOCK(kind):
        raise Stop("something else stands there", what=what, hint="move it away, or set another control:")
    try:
        pid = next(ask(path, {"ask": "pid"}, timeout_s=2.0), {}).get("pid", "unknown")
    except NotRunning:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        log.info("control stale socket removed path=%s", path)
        return
    except Trouble:
        pid = "unknown"
    raise Stop(f"in use by the daemon with pid {pid}", what=what, hint="stop that one first")


def _listen(path: Path) -> socket.socket:
    """Bound under a private name, made 0660, then renamed: nobody meets it with the umask's mode."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    fresh = path.with_name(f".{path.name[:40]}.{os.getpid()}")
    try:
        path.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            fresh.unlink()
        with _reachable(fresh) as short:
            listener.bind(short)
        fresh.chmod(MODE)
        listener.listen(8)
        fresh.rename(path)
    except OSError as error:
        listener.close()
        hint = "make its folder and let the daemon's user write there, or set another control:"
        raise Stop((error.strerror or str(error)).lower(), what=f"control socket {path}", hint=hint) from error
    return listener


def _connect(path: Path, timeout_s: float) -> socket.socket:
    talk = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    talk.settimeout(timeout_s)
    try:
        with _reachable(path) as short:
            talk.connect(short)
    except OSError:
        talk.close()
        raise
    return talk


@contextlib.contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """A name of at most 107 bytes for a socket's path, however deep its folder is."""
    if len(os.fsencode(path)) <= PATH_BYTES:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
