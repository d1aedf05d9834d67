"""gateway.yaml in; typed settings out, or every mistake of the file with its line. Also the credential file and network.yaml.

Nothing here opens a device or the network: an absent sensor is no mistake.
"""

import ipaddress
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from adapters.document import Mistakes
from edge.marks import Mark, Page, nearest
from readings.errors import Stop, Trouble

if TYPE_CHECKING:  # the command line asks a running daemon without loading a single profile
    from adapters.catalogue import Catalogue
    from adapters.profile import Link as SerialLink
    from adapters.profile import Profile
    from adapters.transport.base import Address

__all__ = ["Config", "Credential", "Mistakes", "load", "load_credential", "load_network", "whereabouts"]

DEFAULT_FILE = Path("/etc/harmattan/gateway.yaml")
DEFAULT_CONTROL = Path("/run/harmattan/edge.sock")
DEFAULT_STORE = Path("/var/lib/harmattan/outbox.db")
DEFAULT_CREDENTIAL = Path("/etc/harmattan/credential")
GATEWAY_NAME = r"[a-z0-9][a-z0-9-]{1,30}"
SENSOR_ID = r"[a-z0-9][a-z0-9_-]{0,30}"
GIB = 1 << 30
TOP_KEYS = ("gateway", "site", "hub", "link", "store", "control", "profiles", "sensors", "listen", "quality")
NOT_YET = ("alarm", "anomaly")
SENSOR_KEYS = ("id", "profile", "at", "every", "reduce")
SENSOR_EXAMPLE = '- {id: pm, profile: plantower.pms5003, at: "serial:/dev/ttyUSB0", every: 60s}'
LINKS: Mapping[str, tuple[float, float]] = {"open": (10.0, 30.0), "metered": (600.0, 900.0)}
"""mode -> flush, keepalive [s]"""


class Site(Struct, frozen=True):
    """The station that this gateway proposes to the hub. Degrees, metres, IANA zone; None = not told."""

    name: str
    lat: float | None = None
    lon: float | None = None
    alt_m: float | None = None
    zone: str | None = None


class Hub(Struct, frozen=True):
    mqtt: tuple[str, ...]
    credential: Path
    insecure: bool = False


class Link(Struct, frozen=True):
    """How often a message goes up, and how often an idle connection says that it lives [s]."""

    mode: Literal["open", "metered"] = "open"
    flush_s: float = 10.0
    keepalive_s: int = 30


class Store(Struct, frozen=True):
    path: Path
    quota_bytes: int = 2 * GIB
    when_full: Literal["drop_oldest", "stop"] = "drop_oldest"


class Listen(Struct, frozen=True):
    """Where posts of devices are heard, and from which networks (none named: this machine and private networks)."""

    host: str
    port: int
    allow: tuple[str, ...] = ()


class SensorConfig(Struct, frozen=True):
    id: str
    profile: "Profile"
    address: "Address"
    every_s: float = 60.0
    reduce: Literal["last", "mean"] = "last"


class Config(Struct, frozen=True):
    """One gateway. `quality`: parameter -> (lo, hi) in its canonical unit, instead of the profile's range."""

    file: Path
    gateway: str
    site: Site
    hub: Hub | None
    link: Link
    store: Store
    control: Path
    profiles: tuple[Path, ...]
    sensors: tuple[SensorConfig, ...]
    quality: dict[str, tuple[float, float]]


class Network(Struct, frozen=True):
    """What the simulator plays: sensors as in gateway.yaml."""

    file: Path
    seed: int
    sensors: tuple[SensorConfig, ...]


class Whereabouts(Struct, frozen=True):
    """Where a running daemon is found; readable even from a file with mistakes."""

    gateway: str
    control: Path
    store: Path
    has_hub: bool


def load(path: Path) -> Config:
    """Raises Mistakes with everything wrong in the file, Stop when there is no such file."""
    page, base = Page(str(path)), path.resolve().parent
    root = page.read(path)
    keys = _top(page, root, TOP_KEYS, ("gateway", "sensors"))
    gateway = _name(page, keys.get("gateway"), GATEWAY_NAME, "2 to 31 of a-z, 0-9 and -, as in unilag-01")
    profiles = _profiles(page, keys.get("profiles"), base)
    listen = _listen(page, keys.get("listen"))
    config = Config(
        file=path,
        gateway=gateway,
        site=_site(page, keys.get("site"), gateway),
        hub=_hub(page, keys.get("hub"), base),
        link=_link(page, keys.get("link")),
        store=_store(page, keys.get("store"), base),
        control=_path(page, keys.get("control"), base, DEFAULT_CONTROL),
        profiles=profiles,
        sensors=_sensors(page, keys.get("sensors"), base, _catalogue(page, keys.get("profiles"), profiles), listen),
        quality=_quality(page, keys.get("quality")),
    )
    page.settle()
    return config


def load_network(path: Path) -> Network:
    """network.yaml `{seed: 1, sensors: [.. as in gateway.yaml ..]}`. Raises Mistakes."""
    page, base = Page(str(path)), path.resolve().parent
    keys = _top(page, page.read(path), ("seed", "profiles", "listen", "sensors"), ("sensors",))
    profiles = _profiles(page, keys.get("profiles"), base)
    seed = page.number(keys["seed"], 0, 2**31, whole=True) if "seed" in keys else 1
    listen = _listen(page, keys.get("listen"))
    sensors = _sensors(page, keys.get("sensors"), base, _catalogue(page, keys.get("profiles"), profiles), listen)
    page.settle()
    return Network(path, int(seed or 0), sensors)


def whereabouts(path: Path) -> Whereabouts:
    """Control socket and store of a configuration, read without its sensors and profiles; defaults where nothing is said.

    Raises Stop or Mistakes only when the file cannot be read as a mapping at all.
    """
    page, quiet, base = Page(str(path)), Page(str(path)), path.resolve().parent
    root = page.read(path)
    keys = quiet.mapping(root, None) if root else None
    if keys is None:
        _top(page, root, TOP_KEYS, ())
        page.settle()
    keys = keys or {}
    gateway = quiet.text(keys["gateway"]) if "gateway" in keys else None
    store = (quiet.mapping(keys["store"], None) or {}) if "store" in keys else {}
    return Whereabouts(
        gateway or "?",
        _path(quiet, keys.get("control"), base, DEFAULT_CONTROL),
        _path(quiet, store.get("path"), base, DEFAULT_STORE),
        "hub" in keys,
    )


# The parts of the file, top to bottom. Each takes its mark (None: not written) and gives its typed value or a harmless default.


def _top(page: Page, root: Mark | None, allowed: Sequence[str], required: Sequence[str]) -> dict[str, Mark]:
    if root is None:
        if not page.clean:
            return {}
        page.wrong(None, "is empty", f"at least {' and '.join(required or allowed[:1])} must be given")
        return {}
    every = page.mapping(root, allowed, later=NOT_YET if "gateway" in allowed else (), what="a mapping of keys at the top")
    if every is None:
        return {}
    for key in NOT_YET:
        if key in every:
            page.wrong(every.pop(key), "not in this version", "leave it out")
    for key in required:
        if key not in every:
            example = (
                f"add sensors: with at least one {SENSOR_EXAMPLE}" if key == "sensors" else f"add {key}: NAME, as in unilag-01"
            )
            page.wrong(Mark(key, root.line, root.node), "is missing", example)
    return every


def _name(page: Page, mark: Mark | None, pattern: str, allowed: str) -> str:
    return (page.pattern(mark, pattern, allowed=allowed) if mark else None) or ""


def _path(page: Page, mark: Mark | None, base: Path, default: Path) -> Path:
    """Relative paths start at the file's folder."""
    said = page.text(mark, example="a path") if mark else None
    return base / said if said else default


def _site(page: Page, mark: Mark | None, gateway: str) -> Site:
    keys = page.mapping(mark, ("name", "lat", "lon", "alt_m", "zone")) if mark else None
    if not keys:
        return Site(gateway)
    name = (
        page.pattern(keys["name"], r"[^\x00-\x1f\x7f]{1,80}", allowed="1 to 80 printable characters") if "name" in keys else None
    )
    numbers = {
        key: page.number(keys[key], lo, hi)
        for key, lo, hi in (("lat", -90.0, 90.0), ("lon", -180.0, 180.0), ("alt_m", -500.0, 9000.0))
        if key in keys
    }
    for one, other in (("lat", "lon"), ("lon", "lat")):
        if one in keys and other not in keys:
            page.wrong(keys[one], f"comes without {other}", f"add {other}: in degrees, or leave both out")
    zone = _zone(page, keys.get("zone"))
    return Site(name or gateway, numbers.get("lat"), numbers.get("lon"), numbers.get("alt_m"), zone)


def _zone(page: Page, mark: Mark | None) -> str | None:
    said = page.text(mark, example="Africa/Lagos") if mark else None
    if mark is None or said is None:
        return None
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

    try:
        ZoneInfo(said)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        zones = available_timezones()
        if zones or not re.fullmatch(r"[A-Z][A-Za-z_]+(/[A-Za-z0-9_+-]+){0,2}", said):  # no tzdata installed: the shape must do
            near = next((f"did you mean {zone}? " for zone in sorted(zones) if zone.endswith(f"/{said}")), "") or nearest(
                said, zones
            )
            page.wrong(mark, f"`{said}` is no time zone", f"{near}write an IANA name, as in Africa/Lagos")
            return None
    return said


def _hub(page: Page, mark: Mark | None, base: Path) -> Hub | None:
    keys = page.mapping(mark, ("mqtt", "credential", "insecure")) if mark else None
    if mark is None or keys is None:
        return None
    insecure = bool(page.truth(keys["insecure"])) if "insecure" in keys else False
    urls: list[str] = []
    if "mqtt" not in keys:
        page.wrong(mark, "has no mqtt", 'add mqtt: ["mqtts://hub.example.org:8883"]')
    else:
        marks = page.items(keys["mqtt"], example='mqtt: ["mqtts://hub.example.org:8883"]')
        if marks == []:
            page.wrong(
                keys["mqtt"],
                "is an empty list",
                'write mqtt: ["mqtts://hub.example.org:8883"], or leave hub out for a local logger',
            )
        urls = [url for m in marks or [] if (url := _broker(page, m, insecure))]
    return Hub(tuple(urls), _path(page, keys.get("credential"), base, DEFAULT_CREDENTIAL), insecure)


def _broker(page: Page, mark: Mark, insecure: bool) -> str | None:
    """A broker's URL that may be used: encrypted, or on this machine, or insecure by explicit wish."""
    said = page.text(mark, example="mqtts://hub.example.org:8883")
    if said is None:
        return None
    allowed = "write mqtts://HOST[:PORT] or wss://HOST[:PORT]/PATH"
    try:
        url = urlsplit(said)
        port = url.port
    except ValueError as error:
        page.wrong(mark, f"`{said}`: {str(error).lower()}", "a port is a number from 1 to 65535")
        return None
    if url.scheme not in ("mqtt", "mqtts", "ws", "wss") or not url.hostname:
        page.wrong(mark, f"`{said}` is no broker", allowed)
    elif port == 0 or said.rstrip("/").endswith(":"):
        page.wrong(mark, f"`{said}` has no usable port", "a port is a number from 1 to 65535")
    elif url.username is not None or url.password is not None:
        page.wrong(mark, "names a user", "leave user and password out: they come from the credential file")
    elif url.query or url.fragment or (url.path not in ("", "/") and url.scheme.startswith("mqtt")):
        page.wrong(mark, f"`{said}` has more than host and port", allowed)
    elif url.scheme in ("mqtt", "ws") and not insecure and not is_loopback(url.hostname):
        page.wrong(
            mark,
            f"{url.scheme}:// to {url.hostname} sends the password in clear text",
            f"write {url.scheme}s://, or add insecure: true to hub",
        )
    else:
        return said
    return None


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _link(page: Page, mark: Mark | None) -> Link:
    if mark is None:
        return Link()
    if page.is_mapping(mark):
        keys = page.mapping(mark, ("mode", "flush", "keepalive")) or {}
        mode = page.choice(keys["mode"], LINKS) if "mode" in keys else "open"
    else:
        keys, mode = {}, page.choice(mark, LINKS)
    flush_s, keepalive_s = LINKS[mode or "open"]
    if "flush" in keys:
        flush_s = page.time_s(keys["flush"], 1.0, 3600.0, example="10s") or flush_s
    if "keepalive" in keys:
        keepalive_s = page.time_s(keys["keepalive"], 5.0, 14400.0, example="30s") or keepalive_s
    return Link("metered" if mode == "metered" else "open", flush_s, max(1, round(keepalive_s)))


def _store(page: Page, mark: Mark | None, base: Path) -> Store:
    keys = (page.mapping(mark, ("path", "quota", "when_full")) or {}) if mark else {}
    quota = page.size_bytes(keys["quota"], 256 << 10, 1024 * GIB, example="2GiB") if "quota" in keys else None
    full = page.choice(keys["when_full"], ("drop_oldest", "stop")) if "when_full" in keys else None
    path = _path(page, keys.get("path"), base, DEFAULT_STORE)
    return Store(path, quota or 2 * GIB, "stop" if full == "stop" else "drop_oldest")


def _profiles(page: Page, mark: Mark | None, base: Path) -> tuple[Path, ...]:
    """Folders with more profiles; one that is not there is a mistake."""
    marks = page.items(mark, example="profiles: [/etc/harmattan/profiles]") if mark else None
    found = []
    for m in marks or ():
        said = page.text(m, example="a folder")
        if said and not (base / said).is_dir():
            page.wrong(m, f"there is no folder {said}", "make it, or leave it out: the shipped profiles are always there")
        elif said:
            found.append(base / said)
    return tuple(found)


def _catalogue(page: Page, mark: Mark | None, folders: Iterable[Path]) -> "Catalogue":
    from adapters.catalogue import Catalogue

    try:
        return Catalogue.load(list(folders))
    except Mistakes as error:
        page.adopt(error.mistakes)
        return Catalogue.load([])


def _listen(page: Page, mark: Mark | None) -> Listen | None:
    keys = page.mapping(mark, ("http", "allow")) if mark else None
    if mark is None or keys is None:
        return None
    if "http" not in keys:
        page.wrong(mark, "has no http", 'add http: "127.0.0.1:8180"')
        return None
    networks = page.items(keys["allow"], example="allow: [192.168.1.0/24]") if "allow" in keys else None
    if networks == []:
        page.wrong(
            keys["allow"], "is an empty list", "name networks, or leave it out: this machine and private networks are heard"
        )
    allow = tuple(network for m in networks or () if (network := _heard_network(page, m)))
    host, port = _bound(page, keys["http"])
    return Listen(host, port, allow) if port else None


def _bound(page: Page, mark: Mark) -> tuple[str, int]:
    """Address and port of this machine; ("", 0) when they are none."""
    said = page.text(mark, example='"127.0.0.1:8180"') or ""
    host, _, port = said.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        host = host if host == "localhost" else ""
    if not host or not port.isdecimal() or not port.isascii() or not 0 < int(port) < 65536:
        if said:
            page.wrong(mark, f"`{said}` is no address with a port", 'write an IP address of this machine, as in "0.0.0.0:8180"')
        return "", 0
    return host, int(port)


def _heard_network(page: Page, mark: Mark) -> str | None:
    said = page.text(mark, example="192.168.1.0/24")
    try:
        return str(ipaddress.ip_network(said, strict=False)) if said else None
    except ValueError:
        page.wrong(mark, f"`{said}` is no network", "write 192.168.1.0/24, or one address")
        return None


def _heard(page: Page, mark: Mark, sensor: SensorConfig, listen: Listen | None) -> SensorConfig:
    """A sensor that posts is heard where `listen` says."""
    if sensor.address.kind != "listen":
        return sensor
    if listen is None:
        where = mark.at(f"{mark.key}.at")
        page.wrong(where, f"`{sensor.address.text}`: nothing listens", 'add listen: {http: "127.0.0.1:8180"} to the file')
        return sensor
    door = msgspec.structs.replace(sensor.address, host=listen.host, port=listen.port, allow=listen.allow)
    return msgspec.structs.replace(sensor, address=door)


def _sensors(
    page: Page, mark: Mark | None, base: Path, catalogue: "Catalogue", listen: Listen | None
) -> tuple[SensorConfig, ...]:
    marks = page.items(mark, example=f"sensors: with lines such as {SENSOR_EXAMPLE}") if mark else None
    if mark and marks == []:
        page.wrong(mark, "is an empty list", f"write at least one {SENSOR_EXAMPLE}")
    found: list[tuple[Mark, SensorConfig]] = []
    seen: dict[str, int] = {}
    for m in marks or ():
        id_ = page.peek(m, "id")
        named = m.at(f"sensors.{id_}") if re.fullmatch(SENSOR_ID, id_) else m
        keys = page.mapping(named, SENSOR_KEYS, what=f"a sensor such as {SENSOR_EXAMPLE}")
        sensor = _sensor(page, named, keys, seen, base, catalogue) if keys is not None else None
        if sensor is not None:
            found.append((named, _heard(page, named, sensor, listen)))
    _check_sharing(page, found)
    return tuple(sensor for _, sensor in found)


def _sensor_id(page: Page, mark: Mark, keys: Mapping[str, Mark], seen: dict[str, int]) -> str:
    if "id" not in keys:
        page.wrong(mark, "has no id", f"add one, as in {SENSOR_EXAMPLE}")
        return ""
    id_ = _name(page, keys["id"], SENSOR_ID, "1 to 31 of a-z, 0-9, _ and -, as in pm")
    if id_ in seen:
        page.wrong(keys["id"], f"`{id_}` is used already in line {seen[id_]}", "give each sensor its own id")
    elif id_:
        seen[id_] = keys["id"].line
    return id_


def _sensor(
    page: Page, mark: Mark, keys: Mapping[str, Mark], seen: dict[str, int], base: Path, catalogue: "Catalogue"
) -> SensorConfig | None:
    id_ = _sensor_id(page, mark, keys, seen)
    for key, example in (("profile", "profile: plantower.pms5003"), ("at", 'at: "serial:/dev/ttyUSB0"')):
        if key not in keys:
            page.wrong(mark, f"has no {key}", f"add it, as in {example}")
    every_s = page.time_s(keys["every"], 0.1, 86400.0, example="60s") if "every" in keys else 60.0
    reduce = page.choice(keys["reduce"], ("last", "mean")) if "reduce" in keys else "last"
    profile, address = _profile(page, keys.get("profile"), catalogue), _address(page, keys.get("at"), base)
    if profile is not None and address is not None:
        _check_fit(page, keys, profile, address)
    if profile is None or address is None or not id_:
        return None  # else it is looked at beside the others, even if one of its values is wrong: all mistakes in one run
    if every_s is not None and every_s < profile.min_every_s and address.kind != "replay":
        why = f"{profile.id} wants at least {profile.min_every_s:g} s between two questions"
        page.wrong(keys.get("every", mark), why, f"write every: {profile.min_every_s:g}s or more")
    if "reduce" not in keys and not profile.ask and address.kind == "serial":
        reduce = profile.reduce
    return SensorConfig(id_, profile, address, every_s or 60.0, "mean" if reduce == "mean" else "last")


def _check_fit(page: Page, keys: Mapping[str, Mark], profile: "Profile", address: "Address") -> None:
    from adapters.sensor import fits

    if why := fits(profile, address):
        said, _, allowed = why.partition(": ")
        page.wrong(keys["at"], said, allowed)
    elif "reduce" in keys and page.text_or_none(keys["reduce"]) == "mean" and (profile.ask != () or address.kind != "serial"):
        page.wrong(
            keys["reduce"], f"{profile.id} answers when asked", "mean is for sensors that talk by themselves: leave it out"
        )


def _profile(page: Page, mark: Mark | None, catalogue: "Catalogue") -> "Profile | None":
    said = page.text(mark, example="plantower.pms5003") if mark else None
    if mark is None or said is None:
        return None
    try:
        return catalogue.get(said)
    except Mistakes as error:
        page.adopt(error.mistakes)
    except Trouble as error:
        page.wrong(mark, f"`{said}`: {error.why}", error.hint)
    return None


def _address(page: Page, mark: Mark | None, base: Path) -> "Address | None":
    said = page.text(mark, example='"serial:/dev/ttyUSB0"') if mark else None
    if mark is None or said is None:
        return None
    from adapters.transport.base import parse_address

    try:
        return parse_address(said, base)
    except Trouble as error:
        page.wrong(mark, f"`{said}`: {error.why}", error.hint)
        return None


def _check_sharing(page: Page, sensors: Sequence[tuple[Mark, SensorConfig]]) -> None:
    """One port, one line setting; one device, one entry. Several devices on one RS-485 line are normal."""
    from adapters.sensor import line_of

    devices: dict[object, str] = {}
    lines: dict[Path, tuple[str, SerialLink]] = {}
    spoken: dict[Path, SensorConfig] = {}
    for mark, sensor in sensors:
        device = (sensor.address.identity, sensor.profile.id)
        if device in devices:
            page.wrong(mark, f"has the address and profile of {devices[device]}", "keep one of them, or correct `at`")
        devices.setdefault(device, sensor.id)
        port = sensor.address.path
        if port is None or sensor.address.kind == "replay":
            continue
        wanted = line_of(sensor.profile, sensor.address)
        if (neighbour := spoken.setdefault(port, sensor)).address.kind != sensor.address.kind:
            why = f"speaks {sensor.address.kind} on {port}, but {neighbour.id} speaks {neighbour.address.kind} there"
            page.wrong(mark, why, "a line carries one protocol; use another port")
        other, link = lines.setdefault(port, (sensor.id, wanted))
        if link.line != wanted.line:
            why = f"wants {_line(wanted)} on {port}, but {other} wants {_line(link)} there"
            hint = "sensors on one serial port must share its line settings; use another port"
            if sensor.address.kind == "modbus-rtu":
                hint += f", or set the device and say so: ?unit={sensor.address.unit}&baud={link.baud}&parity={link.parity}"
            page.wrong(mark, why, hint)


def _line(link: "SerialLink") -> str:
    return f"{link.baud} baud, parity {link.parity}, {link.data_bits}+{link.stop_bits} bits"


def _quality(page: Page, mark: Mark | None) -> dict[str, tuple[float, float]]:
    if mark is None:
        return {}
    from readings.parameters import PARAMETERS  # a YAML file of its own, which `status` does without

    keys = page.mapping(mark, None) or {}
    ranges: dict[str, tuple[float, float]] = {}
    for parameter, m in keys.items():
        if parameter not in PARAMETERS:
            page.wrong(
                m, "unknown parameter", f"{nearest(parameter, PARAMETERS)}`harmattan-edge profiles show NAME` lists a sensor's"
            )
            continue
        tests = page.mapping(m, ("range", "step", "spike", "flat", "gap")) or {}
        for test, value in tests.items():
            if test != "range":
                page.wrong(value, "not in this version", "only range: [LO, HI] may be set")
        bounds = _range(page, tests.get("range"))
        if bounds:
            ranges[parameter] = bounds
    return ranges


def _range(page: Page, mark: Mark | None) -> tuple[float, float] | None:
    marks = page.items(mark, example="range: [0, 1000]") if mark else None
    if mark is None or marks is None:
        return None
    numbers = [page.number(m, -1e9, 1e9) for m in marks]
    bounds = [n for n in numbers if n is not None]
    if len(marks) != 2 or (len(bounds) == 2 and bounds[0] >= bounds[1]):
        page.wrong(mark, "is no range", "write two numbers, the lower first: range: [0, 1000]")
    return (bounds[0], bounds[1]) if len(bounds) == 2 else None


class Credential(Struct, frozen=True):
    """What the hub gave this gateway when it enrolled. Never printed."""

    gateway: str
    password: str
    key: bytes
    key_version: int
    ca: str | None = None

    def __repr__(self) -> str:
        return f"Credential(gateway={self.gateway!r}, key_version={self.key_version})"


class CredentialFile(Struct, frozen=True):
    """The file's JSON: `{"gateway","password","key":"<64 hex>","key_version":1,"ca":null}`."""

    gateway: str
    password: str
    key: str
    key_version: int
    ca: str | None = None


def read_credential(raw: bytes) -> Credential:
    """Raises ValueError on anything but a credential file's JSON; the message never shows what was in it."""
    try:
        file = msgspec.json.decode(raw, type=CredentialFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError("it is not a credential's JSON") from error
    if not re.fullmatch(GATEWAY_NAME, file.gateway) or not file.password:
        raise ValueError("its gateway or password is missing")
    if not re.fullmatch("[0-9a-f]{64}", file.key) or not 0 <= file.key_version <= 255:
        raise ValueError("its key is not 64 hex digits with a version from 0 to 255")
    return Credential(file.gateway, file.password, bytes.fromhex(file.key), file.key_version, file.ca)


def load_credential(path: Path, gateway: str) -> Credential | None:
    """None when there is no file yet. Raises Stop for one that is open to others, another gateway's, or damaged."""
    what, again = f"credential {path}", "enrol again: harmattan-edge enrol HUB_URL TOKEN"
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            raw = file.read(1 << 16)
    except FileNotFoundError:
        return None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Stop(f"cannot be read: {why}", what=what, hint=f"let the daemon's user own it: chown harmattan {path}") from error
    if mode & 0o077:
        raise Stop(f"its mode is {mode:04o}, so others can read it", what=what, hint=f"chmod 600 {path}")
    try:
        credential = read_credential(raw)
    except ValueError as error:
        raise Stop(str(error), what=what, hint=again) from error
    if credential.gateway != gateway:
        raise Stop(f"it belongs to gateway {credential.gateway}, this one is {gateway}", what=what, hint=again)
    return credential
