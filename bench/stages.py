"""Each stage of a value's way beside its floor, the same work as plain code for this one case; CPU per value out."""

import sqlite3
import struct
import sys
import tempfile
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import accumulate, pairwise
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from adapters.catalogue import Catalogue
from adapters.decode import decoder, encoder
from bench.measure import Figure, machine, side_by_side, write
from bench.wire import CHANNELS, rows
from edge.outbox import Outbox
from edge.quality import Hints
from hub.analytics.readings import Asked, Readings, Span
from hub.database.engine import Database, open_database
from hub.database.migrate import migrate
from hub.followers.base import TableFollower
from hub.followers.reader import Reader
from hub.followers.samples import Samples
from hub.front.decoded import Decoded
from hub.front.log import Front, Incoming
from hub.front.settle import Settle
from hub.store.sql import SampleStore
from readings.batch import encode
from readings.row import event_row, schema_row
from readings.sample import Channel, Moment, Sample, Schema

SAMPLES = 80
VALUES = SAMPLES * CHANNELS
BATCHES = 40
NAMES = ["pm1_0", "pm2_5", "pm10", "pm1_0_cf1", "pm2_5_cf1", "n_gt_0_3um", "n_gt_0_5um", "n_gt_1_0um"]
SCHEMA = Schema(
    "pm",
    "plantower.pms5003",
    "0" * 64,
    "",
    tuple(Channel(n, "#/cm3", -2) if n[0] == "n" else Channel(n, "ug/m3", 0) for n in NAMES),
)
NOW = Moment("b", 1_000_000_000, 1_763_935_200_000, "synced")
DURABLE = "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL"


def decode_stage() -> Figure:
    """80 frames of a PMS5003, 12 values each."""
    profile = Catalogue.load([]).get("plantower.pms5003")
    frame = encoder(profile)(dict.fromkeys(profile.numbers, 12))
    reader, layout = decoder(profile), struct.Struct(">2sH12HHH")

    def floor() -> None:
        for _ in range(SAMPLES):
            fields = layout.unpack(frame)
            if fields[0] != b"BM" or fields[1] != 28 or fields[-1] != sum(frame[:30]):
                raise ValueError("bad frame")
            values = fields[2:14]
            assert values

    def ours() -> None:
        for _ in range(SAMPLES):
            reader.feed(frame)

    return side_by_side("decode", ours, floor, values=SAMPLES * 12, floor_is="one struct, header and sum compared")


def samples() -> list[Sample]:
    return [
        Sample("pm", Moment(r.boot, r.mono_ns, r.wall_ms, r.clock), tuple(r.values), tuple(r.flags)) for r in rows(SAMPLES, 60)
    ]


def quality_stage() -> Figure:
    profile = Catalogue.load([]).get("plantower.pms5003")
    hints, given = Hints(profile, {}), samples()

    def floor() -> None:
        for s in given:
            flags = [4 if v < -10 or v > 5000 else 3 if v < 0 or v > 1000 else 1 for v in s.values]  # type: ignore[operator]
            assert flags

    def ours() -> None:
        for s in given:
            hints.flagged(SCHEMA, s)

    return side_by_side("quality", ours, floor, values=VALUES, floor_is="two comparisons a value with fixed bounds")


def outbox_stage(folder: Path) -> Figure:
    """80 samples put and committed; the floor writes the same rows into a table of its own, as durable."""
    outbox = Outbox.open(folder / "outbox.db", quota_bytes=1 << 30)
    outbox.begin("bench", {"name": "bench"}, NOW, [SCHEMA])
    outbox.commit()
    given, plain = samples(), sqlite3.connect(folder / "plain.db", isolation_level=None)
    plain.executescript(f"PRAGMA page_size=1024; {DURABLE}; CREATE TABLE row (seq INTEGER PRIMARY KEY, raw BLOB, crc INTEGER)")
    seq = 0

    def floor() -> None:
        nonlocal seq
        out = []
        for s in given:
            seq += 1
            raw = msgspec.json.encode(
                ["sample", "pm", 2, s.at.boot, s.at.mono_ns, s.at.wall_ms, s.at.clock, list(s.values), list(s.flags)]
            )
            out.append((seq, raw, zlib.crc32(raw)))
        plain.execute("BEGIN IMMEDIATE")
        plain.executemany("INSERT INTO row VALUES (?, ?, ?)", out)
        plain.execute("COMMIT")

    def ours() -> None:
        for s in given:
            outbox.put(s)
        outbox.commit()

    try:
        return side_by_side("outbox commit", ours, floor, values=VALUES, floor_is="JSON, crc and one durable executemany")
    finally:
        outbox.close()
        plain.close()


def encode_stage() -> Figure:
    given = rows(SAMPLES, 60)

    def floor() -> None:
        times = [r.wall_ms for r in given]
        columns = [list(c) for c in zip(*[r.values for r in given], strict=True)]
        body = [[times[0], *[b - a for a, b in pairwise(times)]], *[[c[0], *[b - a for a, b in pairwise(c)]] for c in columns]]
        zlib.compress(msgspec.json.encode(body), 6)

    return side_by_side(
        "encode", lambda: encode("0" * 16, 1, given), floor, values=VALUES, floor_is="differences of times and values, JSON, zlib"
    )


def messages(stream: str) -> Iterator[bytes]:
    """A stream as a gateway sends it: start and schema, then batches of 80 samples."""
    yield encode(stream, 1, [event_row("start", {"version": "bench", "site": {"name": "bench"}}, NOW), schema_row(SCHEMA, NOW)])
    given, lo = rows(SAMPLES, 60), 3
    while True:
        yield encode(stream, lo, given)
        lo += SAMPLES
        step = SAMPLES * 60_000
        given = [msgspec.structs.replace(r, mono_ns=(r.mono_ns or 0) + step * 1_000_000, wall_ms=r.wall_ms + step) for r in given]


def fresh(folder: Path, name: str) -> Database:
    url = f"sqlite:///{folder / name}"
    migrate(url)
    database = open_database(url)
    with database.write() as connection:
        connection.exec_driver_sql("INSERT INTO gateway (network, name, key_version, enrolled_ms) VALUES (1, 'bench-01', 1, 0)")
    return database


class FrontWork:
    """Messages into the front, 10 sharing each commit as under load."""

    def __init__(self, folder: Path) -> None:
        self.front = Front(fresh(folder, "front.db"))
        self.source = messages("0" * 15 + "1")
        self.given: list[list[Incoming]] = []

    def prepare(self) -> None:
        self.given = [[Incoming("bench-01", next(self.source), 1) for _ in range(10)] for _ in range(BATCHES // 10)]

    def __call__(self) -> None:
        for group in self.given:
            assert all(outcome.ack for outcome in self.front.store(group))


class FrontFloor:
    """The same messages: checksum compared, one row inserted each, one set updated, one durable commit for 10."""

    def __init__(self, folder: Path) -> None:
        self.db = sqlite3.connect(folder / "front-floor.db", isolation_level=None)
        self.db.executescript(
            f"{DURABLE}; CREATE TABLE batch (id INTEGER PRIMARY KEY, stream, lo, n, header BLOB, body BLOB);"  # noqa: S608  # no input in it
            "CREATE TABLE held (stream PRIMARY KEY, hi); INSERT INTO held VALUES ('s', 0)"
        )
        self.source = messages("0" * 15 + "1")
        self.given: list[list[bytes]] = []

    def prepare(self) -> None:
        self.given = [[next(self.source) for _ in range(10)] for _ in range(BATCHES // 10)]

    def __call__(self) -> None:
        for group in self.given:
            out = []
            for message in group:
                _, _, _, _, lo, n, body_crc = struct.unpack_from(">2sBBQIII", message)
                if zlib.crc32(message[28:]) != body_crc:
                    raise ValueError("bad body")
                out.append(("s", lo, n, message[:28], message[28:]))
            self.db.execute("BEGIN IMMEDIATE")
            self.db.executemany("INSERT INTO batch (stream, lo, n, header, body) VALUES (?, ?, ?, ?, ?)", out)
            self.db.execute("UPDATE held SET hi = ?", (lo + n - 1,))
            self.db.execute("COMMIT")
            for _ in group:
                msgspec.json.encode({"held": [[1, lo + n - 1]]})


class FollowWork:
    """Batches of the front settled and stored as samples."""

    def __init__(self, folder: Path, name: str = "follow.db") -> None:
        database = self.database = fresh(folder, name)
        self.front, self.source = Front(database), messages("0" * 15 + "1")
        decoded = Decoded()
        self.steps = [Settle(database, decoded), TableFollower(database, Reader(database, decoded), Samples(database))]

    def prepare(self) -> None:
        self.front.store([Incoming("bench-01", next(self.source), 1_900_000_000_000) for _ in range(BATCHES)])

    def __call__(self) -> None:
        for step in self.steps:
            while step.step():
                pass


class FollowFloor:
    """The same batches: inflated, differences undone, one JSON text a sample, one durable executemany for all."""

    def __init__(self, folder: Path) -> None:
        self.db = sqlite3.connect(folder / "follow-floor.db", isolation_level=None)
        self.db.executescript(
            f"{DURABLE}; CREATE TABLE sample (sensor, time_ms, stream_no, seq, schema, body, flags, flags_edge,"
            " PRIMARY KEY (sensor, time_ms, stream_no, seq)) WITHOUT ROWID"
        )
        self.source, self.given = messages("0" * 15 + "1"), [b""]

    def prepare(self) -> None:
        self.given = [m for m in (next(self.source) for _ in range(BATCHES + 1)) if struct.unpack_from(">I", m, 16)[0] > 2][
            :BATCHES
        ]

    def __call__(self) -> None:
        out = []
        for message in self.given:
            lo = struct.unpack_from(">I", message, 12)[0]
            _, _, [[_, mono, wall, _, values, _]] = msgspec.json.decode(zlib.decompress(message[28:]))
            times = [w + t for w, t in zip(accumulate(wall), accumulate(mono), strict=True)]
            columns = [map(str, accumulate(c)) for c in values]
            for i, (time_ms, body) in enumerate(zip(times, zip(*columns, strict=True), strict=True)):
                out.append((1, time_ms, 1, lo + i, 1, f"[{','.join(body)}]", None, None))
        self.db.execute("BEGIN IMMEDIATE")
        self.db.executemany("INSERT INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?)", out)
        self.db.execute("COMMIT")


def readings_stage(folder: Path) -> Figure:
    """A page of 1,000 rows as the readings route makes it; the floor reads the same table and joins texts."""
    work = FollowWork(folder, "read.db")
    work.prepare()
    work()
    pages = Readings(work.database, SampleStore(work.database))
    asked = Asked(1, Span(0, 1 << 50), None, None, 1000, None)
    db = sqlite3.connect(folder / "read.db")

    def floor() -> None:
        out = []
        for time_ms, body in db.execute("SELECT time_ms, body FROM sample WHERE sensor = 1 ORDER BY time_ms LIMIT 1000"):
            stamp = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
            out.append(f'["{stamp[:-6]}Z",{",1,".join(body[1:-1].split(","))},1]')
        text = f'{{"fields":[],"rows":[{",".join(out)}]}}'.encode()
        assert len(out) == 1000
        assert text

    def ours() -> None:
        body, _ = pages.page(asked, None)
        assert body

    return side_by_side("readings route", ours, floor, values=1000 * CHANNELS, floor_is="one query, one text a row, joined")


def front_stage(folder: Path) -> Figure:
    floor_is = "checksum, one row a message, one set, one durable commit for 10"
    return side_by_side(
        "bridge + front commit", FrontWork(folder), FrontFloor(folder), values=BATCHES * VALUES, floor_is=floor_is
    )


def follow_stage(folder: Path) -> Figure:
    floor_is = "inflate, undo differences, one JSON text a sample, one durable executemany"
    return side_by_side("settle + samples", FollowWork(folder), FollowFloor(folder), values=BATCHES * VALUES, floor_is=floor_is)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="harmattan-bench-") as name:
        folder = Path(name)
        figures = [
            decode_stage(),
            quality_stage(),
            outbox_stage(folder),
            encode_stage(),
            front_stage(folder),
            follow_stage(folder),
        ]
        figures.append(readings_stage(folder))
    lines = ["| stage | us per value | floor | ratio | the floor is |", "|---|---|---|---|---|"]
    lines += [f"| {f.name} | {f.ours_us:.3f} | {f.floor_us:.3f} | {f.ratio:.2f} | {f.floor} |" for f in figures]
    total, floors = sum(f.ours_us for f in figures), sum(f.floor_us for f in figures)
    lines += [f"| sum | {total:.3f} | {floors:.3f} | {total / floors:.2f} | |", "", machine()]
    text = "\n".join(lines)
    write("stages", text) if "--write" in sys.argv else print(text)


if __name__ == "__main__":
    main()
