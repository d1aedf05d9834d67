"""A gateway as the hub sees it: its streams, rows and messages, made by hand and in any order."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import insert, select

from hub.database import tables
from hub.database.engine import Database
from hub.front.log import Front, Incoming, Outcome
from readings.batch import encode
from readings.messages import Hello
from readings.row import Row, event_row, schema_row
from readings.sample import Channel, Moment, Schema

BOOT = "5f3c2b1a"
START_MS = 1_764_000_000_000
PM = (Channel("pm2_5", "ug/m3", 0), Channel("pm10", "ug/m3", -1), Channel("temperature", "degC", -2))


class Gateway:
    """One daemon's life on one card: a stream whose rows are numbered 1, 2, 3, ..."""

    def __init__(self, name: str = "demo-01", stream: str = "00000000000000a1", card: str = "card-1") -> None:
        self.name = name
        self.stream = stream
        self.card = card
        self.rows: list[Row] = []
        self.schemas: dict[str, int] = {}

    def add(self, row: Row) -> int:
        """Its number."""
        self.rows.append(row)
        return len(self.rows)

    def start(self, site: dict[str, Any] | None = None, previous: tuple[str, int] | None = None, at_ms: int = START_MS) -> int:
        content = {"version": "0.1.0", "site": site or {}, "card": self.card, "previous": previous}
        return self.add(event_row("start", content, self.at(at_ms)))

    def schema(self, sensor: str = "pm", channels: Sequence[Channel] = PM, profile: str = "plantower.pms5003") -> int:
        made = schema_row(Schema(sensor, profile, "0" * 64, "1.0", tuple(channels)), self.at(START_MS))
        self.schemas[sensor] = self.add(made)
        return self.schemas[sensor]

    def sample(self, values: Sequence[int | None], at_ms: int, sensor: str = "pm", flags: Sequence[int] | None = None) -> int:
        at = self.at(at_ms)
        flags = [1] * len(values) if flags is None else list(flags)
        row = Row("sample", sensor, self.schemas[sensor], at.boot, at.mono_ns, at.wall_ms, at.clock, list(values), list(flags))
        return self.add(row)

    def samples(self, count: int, sensor: str = "pm", from_ms: int = START_MS) -> None:
        for i in range(count):
            self.sample([12 + i % 7, 315 + i, 2150], from_ms + 1000 * i, sensor)

    def event(self, kind: str, content: dict[str, Any], at_ms: int, sensor: str | None = None) -> int:
        return self.add(event_row(kind, content, self.at(at_ms), sensor))

    def tombstone(self, stream: str, ranges: list[list[int]]) -> int:
        at = self.at(START_MS)
        values = {"stream": stream, "ranges": ranges, "n": 1, "t0": START_MS, "t1": START_MS, "reason": "quota"}
        return self.add(Row("tombstone", None, None, at.boot, at.mono_ns, at.wall_ms, at.clock, values, None))

    def at(self, wall_ms: int) -> Moment:
        return Moment(BOOT, (wall_ms - START_MS) * 1_000_000, wall_ms, "synced")

    def message(self, lo: int = 1, hi: int | None = None) -> bytes:
        return encode(self.stream, lo, self.rows[lo - 1 : hi])

    def came(self, lo: int = 1, hi: int | None = None, received_ms: int = START_MS + 3_600_000) -> Incoming:
        return Incoming(self.name, self.message(lo, hi), received_ms)

    def hello(self, nonce: str = "n1", previous: tuple[str, int] | None = None) -> Hello:
        rows = len(self.rows)
        streams = [(self.stream, 1, rows)] if rows else []
        return Hello(nonce, self.card, self.stream, previous, streams, rows, rows, "synced", "0.1.0")


def enrol(database: Database, *names: str) -> None:
    """Gateways that the hub knows."""
    with database.write() as connection:
        network = connection.execute(select(tables.network.c.id).where(tables.network.c.slug == "default")).scalar_one()
        for name in names:
            connection.execute(insert(tables.gateway).values(network=network, name=name, key_version=1, enrolled_ms=1))


def store(front: Front, *messages: Incoming) -> list[Outcome]:
    """Each in a commit of its own."""
    return [outcome for message in messages for outcome in front.store([message])]


def content(database: Database, *names: str) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of these tables, in the order of their columns: two of these are equal when the tables are, byte for byte."""
    found = {}
    with database.read() as connection:
        for name in names:
            table = tables.metadata.tables[name]
            found[name] = [tuple(row) for row in connection.execute(select(table).order_by(*table.columns))]
    return found
