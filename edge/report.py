"""What the daemon (or, when it is down, its outbox file) knows in; lines for a person and documents for a program out.

The document is that of `status --json`; `units`, `hint`, `alarms` and `disk_why` ride along for the table only.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from readings.errors import Trouble

if TYPE_CHECKING:
    from edge.outbox import Reader
    from readings.sample import Schema

Document = dict[str, Any]
STEP_ROWS = 500
SEARCH_ROWS = 20_000
"""How far back a dead daemon's outbox is searched for each sensor's newest sample."""
FIRST = ("pm2_5", "pm10", "pm1_0", "co2", "temperature", "relative_humidity", "power_active", "voltage")
"""What the table shows first where not everything fits."""
GOOD_STATES = ("ok", "starting", "warming_up")
GOOD_LINKS = ("online", "connecting", "none")
MARKS = {3: " (suspect)", 4: " (fails its range)", 9: ""}
TODO = {
    "no_answer": "check its power and cable, and the address in `at:`",
    "no_data": "it is there and has nothing new; if this lasts, switch it off and on",
    "garbage": "check the profile, and the address or line settings in `at:`; look for a loose cable",
    "unplugged": "plug it in; it is found again by itself",
    "no_permission": "add the daemon's user to the port's group: usermod -aG dialout harmattan",
    "busy": "stop the other program that holds the port",
    "refused": "check the address in `at:` and that the device accepts connections",
    "offline": "nothing is lost; it tries again by itself",
    "not_enrolled": "enrol this gateway: harmattan-edge enrol HUB_URL TOKEN",
}


def contract(document: Document) -> Document:
    """The document with contract.md's keys and no others; a sensor's `why` says what to do as well."""
    sensors = [
        {key: sensor[key] for key in ("id", "state", "time", "age_s", "values", "flags")}
        | {"why": "; ".join(part for part in (sensor["why"], sensor["hint"]) if part)}
        for sensor in document["sensors"]
    ]
    keys = ("gateway", "version", "sensors", "outbox", "uplink", "clock", "disk")
    return {key: sensors if key == "sensors" else document[key] for key in keys}


def is_well(document: Document) -> bool:
    """Whether nobody has to do anything."""
    return (
        all(sensor["state"] in GOOD_STATES for sensor in document["sensors"])
        and document["uplink"]["state"] in GOOD_LINKS
        and document["disk"] == "ok"
        and not document["alarms"]
        and not document.get("down", False)
    )


def table(document: Document, *, width: int) -> Iterator[str]:
    """Lines for a technician on a ladder: each sensor with its age and values, and what to do where something is wrong."""
    yield f"{document['gateway']}   harmattan-edge {document['version']}"
    if document.get("down", False):
        yield "  the daemon is not running; this is what its outbox holds"
        yield "  -> start it: systemctl start harmattan-edge"
    names = max((len(sensor["id"]) for sensor in document["sensors"]), default=0)
    states = max((len(sensor["state"]) for sensor in document["sensors"]), default=0)
    for sensor in document["sensors"]:
        head = f"  {sensor['id']:<{names}}  {sensor['state']:<{states}}  {_age(sensor['age_s']):>10}  "
        yield (head + _fitted(_values(_favourites_first(sensor)), width - len(head))).rstrip()
        if sensor["state"] != "stopped":
            yield from _trouble(sensor["state"], sensor["why"], sensor["hint"], good=GOOD_STATES, indent=names + 4)
    yield from _link(document)
    outbox = document["outbox"]
    pending = f", {outbox['pending']:,} not yet known to be at the hub" if document["uplink"]["state"] != "none" else ""
    yield f"outbox  {outbox['rows']:,} rows, {_size(outbox['bytes'])}{pending}{_lost(outbox)}"
    yield f"clock   {document['clock']}" + ("" if document["clock"] == "synced" else ": no time source now; readings are kept")
    yield f"disk    {document['disk']}" + (f": {document['disk_why']}" if document["disk_why"] else "")
    for alarm in document["alarms"]:
        yield f"alarm   {alarm}"


def _lost(outbox: Document) -> str:
    """Only what is not nothing."""
    words = {"tombstoned": "lost and said so", "damaged": "damaged", "dropped": "dropped before they were rows"}
    return "".join(f", {outbox[key]:,} {said}" for key, said in words.items() if outbox.get(key))


def _link(document: Document) -> Iterator[str]:
    link = document["uplink"]
    since = f" since {link['since']}" if link["since"] and link["state"] != "none" else ""
    again = f", next try in {_span(link['next_try_s'])}" if link["next_try_s"] is not None else ""
    what = ": no hub in the configuration, a local logger" if link["state"] == "none" else ""
    yield f"uplink  {link['state']}{what}{since}{again}"
    if not document.get("down", False):
        yield from _trouble(link["state"], link["why"], "", good=GOOD_LINKS, indent=8)


def _trouble(state: str, why: str, hint: str, *, good: tuple[str, ...], indent: int) -> Iterator[str]:
    hint = hint or ("" if state in good else TODO.get(state, ""))
    if why:
        yield f"{'':{indent}}{why}"
    if hint:
        yield f"{'':{indent}}-> {hint}"


def sample_line(line: Document) -> str:
    """One sample of `tail` for a person."""
    said = f"{line['state'].replace('_', ' ')}: {line['why']}" if "state" in line else _values(line)
    return f"{line['time'] or '?':<24}  {line['sensor']:<8}  {said}"


def _favourites_first(shown: Document) -> Document:
    names = sorted(shown["values"], key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    return {**shown, "values": {name: shown["values"][name] for name in names}}


def _values(shown: Document) -> str:
    units, flags = shown["units"], shown["flags"]
    return "  ".join(
        f"{name} {'-' if value is None else f'{value:g}' if abs(value) < 1e6 else f'{value:.0f}'}"
        f"{f' {units[name]}' if units.get(name) and value is not None else ''}{MARKS.get(flags.get(name, 1), '')}"
        for name, value in shown["values"].items()
    )


def _fitted(text: str, width: int) -> str:
    """Whole values only: half a number misleads."""
    if len(text) <= max(width, 20):
        return text
    parts = text.split("  ")
    while len(parts) > 1 and len("  ".join(parts)) + 12 > width:
        parts.pop()
    return "  ".join(parts) + f"  and {len(text.split('  ')) - len(parts)} more"


def _age(age_s: float | None) -> str:
    return "never" if age_s is None else f"{_span(age_s)} ago"


def _span(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def _size(octets: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if octets < 1024:
            return f"{octets:.0f} {unit}"
        octets /= 1024
    return f"{octets:.1f} GiB"


# A dead daemon's file.


def from_outbox(path: Path, *, gateway: str, has_hub: bool) -> Document:
    """The document of a daemon that is down, from what its card holds. Raises Retry when there is no outbox file."""
    from edge.health import Clock, disk
    from edge.outbox import Outbox

    with Outbox.read(path) as reader:
        start, sensors = _last_start(reader)
        found: dict[str, Document | None] = {**dict.fromkeys(sensors), **newest(reader, sensors)}
        rows, octets = reader.size()
        produced, counts = reader.produced(), reader.book().counts
    now_ms = time.time_ns() // 1_000_000
    state, why = disk(path.parent)
    return {
        "gateway": gateway,
        "version": start.get("version", "unknown"),
        "sensors": [_stopped(sensor, line, now_ms) for sensor, line in found.items()],
        "outbox": {
            "rows": rows,
            "bytes": octets,
            "pending": rows if has_hub else 0,
            "produced": produced,
            "tombstoned": counts.tombstoned,
            "damaged": counts.damaged,
            "dropped": 0,
        },
        "uplink": {
            "state": "offline" if has_hub else "none",
            "since": None,
            "next_try_s": None,
            "why": "the daemon is not running",
        },
        "clock": Clock().state(),
        "disk": state,
        "disk_why": why,
        "alarms": [],
        "down": True,
    }


def _stopped(sensor: str, line: Document | None, now_ms: int) -> Document:
    shown = line or {"time": None, "values": {}, "units": {}, "flags": {}, "at_ms": None}
    age_s = None if shown["at_ms"] is None else max(0.0, (now_ms - shown["at_ms"]) / 1000)
    return {
        "id": sensor,
        "state": "stopped",
        "time": shown["time"],
        "age_s": age_s,
        "values": shown["values"],
        "units": shown["units"],
        "flags": shown["flags"],
        "why": "the daemon is not running",
        "hint": "",
    }


def _last_start(reader: "Reader") -> tuple[Document, list[str]]:
    """The newest start event and the sensors that were configured then."""
    streams = reader.streams()
    if not streams:
        return {}, []
    stream, lo, hi = streams[-1]
    start: Document = {}
    sensors: list[str] = []
    for _, row in reader.rows(stream, lo, min(hi, lo + STEP_ROWS)):
        if row.kind == "event" and row.values.get("event") == "start":
            start = row.values
        elif row.kind == "schema" and row.sensor is not None and row.sensor not in sensors:
            sensors.append(row.sensor)
    return start, sensors


def newest(reader: "Reader", sensors: list[str]) -> dict[str, Document]:
    """Each sensor's newest sample, searched backwards."""
    found: dict[str, Document] = {}
    for line in backwards(reader):
        if line["sensor"] in sensors:
            found.setdefault(line["sensor"], line)
        if len(found) == len(sensors):
            break
    return found


def last(path: Path, sensor: str | None, n: int) -> list[Document]:
    """The last n samples (of one sensor), oldest first. Raises Retry when there is no outbox file."""
    from edge.outbox import Outbox

    lines: list[Document] = []
    with Outbox.read(path) as reader:
        for line in backwards(reader) if n > 0 else ():
            if sensor in (None, line["sensor"]):
                lines.append(line)
            if len(lines) == n:
                break
    return lines[::-1]


def backwards(reader: "Reader") -> Iterator[Document]:
    """Samples as `tail` shows them, newest first, in steps."""
    from edge.export import by_parameter
    from readings.sample import rfc3339

    left = SEARCH_ROWS
    for stream, lo, hi in reversed(reader.streams()):
        schemas: dict[int, Schema | None] = {}
        while hi >= lo and left > 0:
            step = min(STEP_ROWS, left, hi - lo + 1)
            for _, row in reversed(reader.rows(stream, hi - step + 1, hi)):
                if row.kind != "sample" or row.schema is None:
                    continue
                if row.schema not in schemas:
                    schemas[row.schema] = _schema(reader, stream, row.schema)
                schema = schemas[row.schema]
                if schema is None:
                    continue
                values, flags = by_parameter(schema, row.values, row.flags)
                units = {channel.parameter: channel.unit for channel in schema.channels}
                shown = {"values": values, "units": units, "flags": flags, "at_ms": row.wall_ms}
                yield {"time": rfc3339(row.wall_ms), "sensor": row.sensor, **shown}
            hi -= step
            left -= step


def _schema(reader: "Reader", stream: str, seq: int) -> "Schema | None":
    from readings.row import schema_of

    try:
        found = reader.rows(stream, seq, seq)
        return schema_of(found[0][1]) if found else None
    except Trouble:
        return None
