"""The hub's address in; a table of stations, sensors and values with units out."""

import json
import shutil
import textwrap
import urllib.request
from collections.abc import Sequence
from datetime import datetime


def readings(url: str, since_ms: float) -> list[list[str]]:
    """Station, sensor, time, values with units: one row for each sensor with a reading stored since a Unix time [ms]."""
    with urllib.request.urlopen(f"{url}/api/v1/dashboard/realtime", timeout=10) as response:  # noqa: S310  # our own hub
        stations = json.load(response)["stations"]
    rows = []
    for station in sorted(stations, key=lambda s: str(s["name"])):
        for sensor in station["sensors"]:
            latest = sensor["latest"]
            if latest is None or datetime.fromisoformat(latest["time"]).timestamp() * 1000 < since_ms:
                continue
            values = [
                f"{name} {value:g} {latest['units'].get(name, '')}".rstrip()
                for name, value in latest["values"].items()
                if value is not None
            ]
            rows.append([str(station["name"]), str(sensor["name"]), str(latest["time"]), ", ".join(values)])
    return rows


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the last is wrapped to the terminal."""
    heads = ("station", "sensor", "time", "values")
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(3)]
    indent = sum(widths) + 6
    room = max(40, shutil.get_terminal_size((160, 24)).columns - indent)
    lines = []
    for row in (heads, *rows):
        cells = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        wrapped = textwrap.wrap(row[3], room) or [""]
        lines += [f"{cells}  {wrapped[0]}", *(" " * indent + more for more in wrapped[1:])]
    return "\n".join(line.rstrip() for line in lines)
