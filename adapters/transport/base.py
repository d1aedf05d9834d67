"""Where a sensor is reached, and what can go wrong on the way. Text of an `at:` in, an Address out; transports open, ask, close.

Every failure here carries `state`, one of the words that `status` shows beside a sensor.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol
from urllib.parse import SplitResult, parse_qsl, urlsplit

from msgspec import Struct

from readings.errors import Drop, Retry, Stop, Wait

Kind = Literal["serial", "modbus-tcp", "modbus-rtu", "http", "https", "listen", "replay"]
KINDS = (
    *("serial:/dev/ttyUSB0", "modbus-rtu:/dev/ttyUSB0?unit=1", "modbus-tcp://HOST:502?unit=1"),
    *("http://HOST/path", "https://HOST/path", "listen:/path/TOKEN", "replay:FILE"),
)
MODBUS_PORT = 502
LISTEN = ("127.0.0.1", 8180)
"""Where posts are heard when nothing else is said."""
LINE_KEYS: Mapping[str, tuple[str | int, ...]] = {
    "baud": (1200, 2400, 4800, 9600, 19200, 38400, 57600, 115200),
    "parity": ("none", "even", "odd"),
    "stop_bits": (1, 2),
}
"""What an address may say of its line instead of the profile: many Modbus devices let a user set it."""


class BadAddress(Stop):
    """An `at:` that nobody can open. The hint says what is allowed."""


class Unanswered(Retry):
    """The device kept silent."""

    state: ClassVar[str] = "no_answer"


class Unplugged(Retry):
    """The port is not there, or vanished while it was open."""

    state: ClassVar[str] = "unplugged"


class NoPermission(Retry):
    state: ClassVar[str] = "no_permission"


class Busy(Retry):
    """Another program holds the port."""

    state: ClassVar[str] = "busy"


class Refused(Retry):
    """The other side is there and says no."""

    state: ClassVar[str] = "refused"


class LinkFailed(Retry):
    state: ClassVar[str] = "error"


class Garbage(Drop):
    """Bytes came, no good answer among them. `code`: the fault's name (bad_checksum, not_json, ...)."""

    state: ClassVar[str] = "garbage"

    def __init__(self, why: str, *, code: str, what: str = "", hint: str = "") -> None:
        super().__init__(why, what=what, hint=hint)
        self.code = code


class DeviceError(Retry):
    """The device answered, and what it says is an error. `keep_open`: nothing is wrong with the port."""

    state: ClassVar[str] = "error"
    keep_open: ClassVar[bool] = True


class WarmingUp(Wait):
    """`again_s`: after so long it may be ready; None: at its next turn."""

    state: ClassVar[str] = "warming_up"

    def __init__(self, why: str, *, what: str = "", hint: str = "", again_s: float | None = None) -> None:
        super().__init__(why, what=what, hint=hint)
        self.again_s = again_s


class Waking(WarmingUp):
    """A device that slept between two samples, as planned, has been woken: nothing to tell."""

    state: ClassVar[str] = ""


class NoData(Wait):
    """The device answered that it has nothing new."""

    state: ClassVar[str] = "no_data"


class NothingNew(Wait):
    """A device that speaks when it likes has not spoken since: nothing to tell, its state stays what it is."""

    state: ClassVar[str] = ""


class Overdue(Wait):
    """A device that posts by itself has not posted for too long."""

    state: ClassVar[str] = "no_answer"


def boottime_ns() -> int:
    """CLOCK_BOOTTIME [ns]: goes on while the machine sleeps, never steps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class Chunk(Struct, frozen=True):
    """Bytes as they came, and when the last of them did (CLOCK_BOOTTIME)."""

    data: bytes
    arrived_ns: int


class Line(Protocol):
    """A byte stream: a serial port, or a capture that plays one."""

    def open(self) -> None: ...

    def close(self) -> None: ...

    def flush(self) -> None:
        """Forgets what came before now."""

    def write(self, data: bytes) -> None: ...

    def read(self, timeout_s: float) -> Chunk | None:
        """What is waiting, or None when nothing came in time. Raises Unplugged."""


class Address(Struct, frozen=True):
    """A parsed `at:`. `port_key`: what one thread must have to itself. `identity`: equal for two that reach the same thing.

    `line`: what it says of a serial line, by the names of Link. `allow`: networks whose posts are heard.
    """

    kind: Kind
    text: str
    path: Path | None = None
    host: str = ""
    port: int = 0
    unit: int | None = None
    url: str = ""
    line: Mapping[str, Any] = {}
    allow: tuple[str, ...] = ()

    @property
    def port_key(self) -> str:
        if self.kind == "listen":
            return f"listen:{self.host}:{self.port}{self.url}"
        if self.path is not None:
            return f"{'replay' if self.kind == 'replay' else 'serial'}:{self.path}"
        return f"{self.kind}:{self.host}:{self.port}"

    @property
    def identity(self) -> tuple[str, int | None]:
        return (self.url or self.port_key, self.unit)


def parse_address(text: str, base_dir: Path) -> Address:
    """Raises BadAddress. Relative paths count from `base_dir`, the folder of the file that holds the text."""
    kind, colon, rest = text.partition(":")
    read = _READERS.get(kind)
    if not colon or read is None:
        raise BadAddress("is no address", what=text, hint=_likely(text))
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in text):
        raise BadAddress("has a blank in it", what=text, hint=_allowed())
    return read(text, rest, base_dir)


def _allowed() -> str:
    return "allowed: " + ", ".join(KINDS)


def _likely(text: str) -> str:
    """The address that was probably meant."""
    if text.startswith(("/dev/", "tty")):
        return f"write serial:{text if text.startswith('/') else '/dev/' + text}"
    if text.endswith(".json") and ":" not in text:
        return f"write replay:{text}"
    return _allowed()


def _file(kind: Kind) -> Callable[[str, str, Path], Address]:
    def read(text: str, rest: str, base_dir: Path) -> Address:
        if not rest or rest.startswith("//") or "?" in rest:
            why = "names no path" if not rest else "has a `?`" if "?" in rest else "starts with two slashes"
            raise BadAddress(why, what=text, hint=f"write {kind}:{'/dev/ttyUSB0' if kind == 'serial' else 'FILE'}")
        return Address(kind, text, path=Path(_normal(base_dir / rest)))

    return read


def _normal(path: Path) -> str:
    """`a/../b` is `b`, so that two spellings are one port; links are kept, because they move when a device is plugged anew."""
    kept: list[str] = []
    for part in path.absolute().parts:
        if part == ".." and len(kept) > 1:
            kept.pop()
        elif part != "..":
            kept.append(part)
    return str(Path(*kept))


def _network(text: str) -> SplitResult:
    try:
        split = urlsplit(text)
        port = split.port
    except ValueError as error:
        raise BadAddress(str(error), what=text, hint="a port is a number from 1 to 65535") from None
    if port == 0 or split.netloc.endswith(":"):
        raise BadAddress("has no usable port", what=text, hint="a port is a number from 1 to 65535")
    if "@" in split.netloc:
        raise BadAddress("holds a user or password", what=text, hint="write scheme://HOST:PORT without them")
    host = split.hostname or ""
    if not host or not all(letter.isalnum() or letter in "-._:%" for letter in host) or ".." in host:
        raise BadAddress(f"{host!r} is no host", what=text, hint="write scheme://HOST:PORT with a name or an IP address")
    if _looks_numeric(host) and not _ipv4(host):
        raise BadAddress(f"{host!r} is no IP address", what=text, hint="four numbers from 0 to 255, as in 192.168.1.20")
    if split.fragment:
        raise BadAddress("has a `#`", what=text, hint=_allowed())
    return split


def _looks_numeric(host: str) -> bool:
    return host.replace(".", "").isdigit()


def _ipv4(host: str) -> bool:
    parts = host.split(".")
    return len(parts) == 4 and all(part.isdigit() and len(part) <= 3 and int(part) <= 255 for part in parts)


def _queried(text: str, query: str, known: Mapping[str, tuple[str | int, ...]]) -> dict[str, Any]:
    """What stands behind `?`, by key: a unit, and where `known` has some, line settings."""
    found: dict[str, Any] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        if (key != "unit" and key not in known) or key in found:
            why = f"`{key}` stands there twice" if key in found else f"`{key}` is unknown"
            allowed = "?unit=1" + "".join(f"&{name}={choices[0]}" for name, choices in known.items())
            raise BadAddress(why, what=text, hint=f"allowed: {allowed}")
        if key != "unit":
            choices = {str(choice): choice for choice in known[key]}
            if value not in choices:
                raise BadAddress(f"{key} {value!r}", what=text, hint=f"one of {', '.join(choices)}")
            found[key] = choices[value]
        elif not value.isdecimal() or not value.isascii() or int(value) > 255:
            raise BadAddress(f"unit {value!r}", what=text, hint="a Modbus unit is a whole number from 0 to 255")
        else:
            found[key] = int(value)
    return found


def _modbus_tcp(text: str, rest: str, base_dir: Path) -> Address:
    if not rest.startswith("//"):
        raise BadAddress("names no host", what=text, hint="write modbus-tcp://HOST:502?unit=1")
    split = _network(text)
    if split.path not in ("", "/"):
        raise BadAddress(f"has a path, {split.path}", what=text, hint="write modbus-tcp://HOST:502?unit=1")
    unit = _queried(text, split.query, {}).get("unit", 1)
    return Address("modbus-tcp", text, host=split.hostname or "", port=split.port or MODBUS_PORT, unit=unit)


def _modbus_rtu(text: str, rest: str, base_dir: Path) -> Address:
    path, _, query = rest.partition("?")
    if not path or path.startswith("//"):
        raise BadAddress("names no port", what=text, hint="write modbus-rtu:/dev/ttyAMA0?unit=1")
    said = _queried(text, query, LINE_KEYS)
    return Address("modbus-rtu", text, path=Path(_normal(base_dir / path)), unit=said.pop("unit", 1), line=said)


def _web(text: str, rest: str, base_dir: Path) -> Address:
    if not rest.startswith("//"):
        raise BadAddress("names no host", what=text, hint="write http://HOST/path")
    split = _network(text)
    kind: Kind = "https" if split.scheme == "https" else "http"
    port = split.port or (443 if kind == "https" else 80)
    host = split.hostname or ""
    shown = f"[{host}]" if ":" in host else host
    target = (split.path or "/") + (f"?{split.query}" if split.query else "")
    return Address(kind, text, host=host, port=port, url=f"{kind}://{shown}:{port}{target}")


def _listen(text: str, rest: str, base_dir: Path) -> Address:
    if not rest.startswith("/") or rest.startswith("//"):
        raise BadAddress("names no path", what=text, hint="write listen:/airrohr/TOKEN")
    if not set("?#").isdisjoint(rest):
        raise BadAddress("has a `?` or `#`", what=text, hint="write listen:/airrohr/TOKEN")
    return Address("listen", text, host=LISTEN[0], port=LISTEN[1], url=rest)


_READERS: dict[str, Callable[[str, str, Path], Address]] = {
    "serial": _file("serial"),
    "replay": _file("replay"),
    "modbus-tcp": _modbus_tcp,
    "modbus-rtu": _modbus_rtu,
    "http": _web,
    "https": _web,
    "listen": _listen,
}
