"""Serial ports and hosts of the network in; the devices that are there, with the YAML to paste, out. For `harmattan-edge detect`.

It listens; it asks only what a profile marks as harmless to any other device, and never writes to a Modbus register. Bytes never
decide what a device is: several makers share a header, so all profiles that fit are named, for a person to pick from.
"""

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
from msgspec import Struct

from adapters.catalogue import Catalogue
from adapters.decode import Reading, decoder
from adapters.document import Mistakes
from adapters.profile import FrameWire, JsonWire, LinesWire, Link, Profile, RegisterWire
from adapters.sensor import open_sensor
from adapters.transport import web
from adapters.transport.base import Line, parse_address
from adapters.transport.serial import SerialLine
from readings.errors import Trouble

LISTEN_S = 2.6
"""Plantower's active mode pauses for 2.3 s while nothing changes."""
REPLY_S = 1.0
HOST_S = 2.0
PORTS = ("serial/by-id/*", "ttyUSB*", "ttyACM*", "ttyAMA*", "ttyS0", "serial0")
NEIGHBOURS = Path("/proc/net/arp")


class Found(Struct, frozen=True):
    """Something that speaks. `profiles`: all that fit, the likeliest first; `how`: heard (it talks by itself) or asked."""

    at: str
    profiles: tuple[str, ...]
    how: str

    def yaml(self, number: int) -> list[str]:
        """Lines for `sensors:` of gateway.yaml."""
        model = self.profiles[0].partition(".")[2]
        sensor_id = f"{model.replace('.', '-')[:26]}-{number}"
        line = f'  - {{id: {sensor_id}, profile: {self.profiles[0]}, at: "{self.at}", every: 60s}}'
        others = self.profiles[1:]
        return [
            line,
            *([f"    # or {', '.join(others)}: the bytes fit them too; take the one printed on the device"] if others else []),
        ]


class Silent(Struct, frozen=True):
    """A port at which nothing was understood, and why."""

    at: str
    why: str


Seen = Found | Silent


def serial_ports(folder: Path = Path("/dev")) -> list[Path]:
    """Each port once, by its lasting name where it has one."""
    found: dict[Path, Path] = {}
    for pattern in PORTS:
        for path in sorted(folder.glob(pattern)):
            found.setdefault(path.resolve(), path)
    return list(found.values())


def neighbours(table: Path = NEIGHBOURS) -> list[str]:
    """Hosts that this machine has lately spoken with."""
    try:
        rows = table.read_text().splitlines()[1:]
    except OSError:
        return []
    return [row.split()[0] for row in rows if len(row.split()) >= 4 and row.split()[3] != "00:00:00:00:00:00"]


def profiles_of(catalogue: Catalogue) -> list[Profile]:
    """The good ones: a broken profile detects nothing."""
    found = []
    for profile_id in catalogue.ids():
        try:
            found.append(catalogue.get(profile_id))
        except Mistakes:
            continue
    return found


def detect(profiles: Sequence[Profile], ports: Iterable[Path], hosts: Iterable[str], *, listen_s: float = LISTEN_S) -> list[Seen]:
    """Every port and every host in a thread of its own."""
    with ThreadPoolExecutor(max_workers=16) as pool:
        seen = [pool.submit(_port, profiles, path, listen_s) for path in ports]
        seen += [pool.submit(_host, profiles, host) for host in hosts]
        return [one for future in seen for one in future.result()]


def _port(profiles: Sequence[Profile], path: Path, listen_s: float) -> list[Seen]:
    """Each line setting in turn: listen first, then ask what may be asked."""
    at = f"serial:{path}"
    heard = 0
    why = "silent"
    for link in dict.fromkeys(_bare(profile.link) for profile in profiles if _is_serial(profile)):
        speakers = [p for p in profiles if _is_serial(p) and _bare(p.link) == link]
        try:
            line = SerialLine(path, link)
            line.open()
            try:
                data = _listened(line, listen_s)
                heard += len(data)
                if fitting := _fitting(speakers, data):
                    return [Found(at, fitting, "heard")]
                if found := _asked(speakers, line, path):
                    return [found]
            finally:
                line.close()
        except Trouble as trouble:
            why = f"{trouble.why}; {trouble.hint}" if trouble.hint else trouble.why
            if getattr(trouble, "state", "") in ("busy", "no_permission", "unplugged", "error"):
                break
    return [Silent(at, f"{heard} bytes that no profile understands" if heard else why)]


def _is_serial(profile: Profile) -> bool:
    if isinstance(profile.wire, FrameWire):
        return bool(profile.wire.start)
    return isinstance(profile.wire, LinesWire) or (isinstance(profile.wire, RegisterWire) and profile.probe)


def _bare(link: Link) -> Link:
    """The line settings alone."""
    baud, parity, data_bits, stop_bits = link.line
    return Link(baud=baud, parity=parity, data_bits=data_bits, stop_bits=stop_bits)  # type: ignore[arg-type]  # of a Link


def _listened(line: Line, for_s: float) -> bytes:
    data, until_s = b"", time.monotonic() + for_s
    while (left_s := until_s - time.monotonic()) > 0:
        chunk = line.read(min(left_s, 0.2))
        data += chunk.data if chunk else b""
    return data


def _fitting(profiles: Sequence[Profile], data: bytes) -> tuple[str, ...]:
    """Those whose decoder finds readings in these bytes: those with a checksum, then no variants, then the fullest."""
    ranked = []
    for profile in profiles if data else ():
        if isinstance(profile.wire, RegisterWire):
            continue
        good = [result for result in decoder(profile).feed(data) if isinstance(result, Reading)]
        checked = getattr(profile.wire, "check", None) is not None
        if good:
            told = max(sum(number is not None for number in reading.numbers) for reading in good)
            ranked.append((not checked, bool(profile.extends), -told, profile.id))
    sure = [one for one in ranked if not one[0]] or ranked
    return tuple(profile_id for *_, profile_id in sorted(sure))


def _asked(profiles: Sequence[Profile], line: Line, path: Path) -> Found | None:
    """Asks what may be asked; the answer is held against every profile that would have asked the same."""
    for ask in dict.fromkeys(p.ask[0].data for p in profiles if p.probe and p.ask):
        line.flush()
        line.write(ask)
        data = _listened(line, REPLY_S)
        rivals = [p for p in profiles if p.ask and p.ask[0].data == ask]
        if fitting := _fitting(rivals, data):
            return Found(f"serial:{path}", fitting, "asked")
    line.flush()
    for profile in profiles:
        if profile.probe and isinstance(profile.wire, RegisterWire) and _reads(profile, f"modbus-rtu:{path}?unit=1"):
            return Found(f"modbus-rtu:{path}?unit=1", (profile.id,), "asked")
    return None


def _reads(profile: Profile, at: str) -> bool:
    """Whether a device answers the profile's own reads. Its commands are left out: they may write."""
    bare = _without_commands(profile)
    sensor = open_sensor(bare, parse_address(at, Path("/")), sensor_id="detect", every_s=60)
    try:
        answer = sensor.sample(REPLY_S)
    except Trouble:
        return False
    finally:
        sensor.close()
    return any(value is not None for value in answer.values)


def _without_commands(profile: Profile) -> Profile:
    return msgspec.structs.replace(profile, open=(), wake=(), sleep=(), close=())


def _host(profiles: Sequence[Profile], host: str) -> list[Seen]:
    """The pages that profiles know, of one host. One that refuses the first is not asked again."""
    for profile in profiles:
        if not (isinstance(profile.wire, JsonWire) and profile.probe and profile.path):
            continue
        at = f"http://{host}{profile.path}"
        try:
            body = web.get(parse_address(at, Path("/")), HOST_S).data
        except Trouble as trouble:
            if getattr(trouble, "state", "") in ("no_answer", "error") or "nobody listens" in trouble.why:
                return []
            continue
        if any(isinstance(result, Reading) for result in decoder(profile).feed(body)):
            return [Found(at, (profile.id,), "asked")]
    return []
