"""A card that is full: safe rows go in silence, others with a tombstone, and what those left behind are read by stays."""

import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edge.eviction import May, may_drop
from edge.export import export
from edge.outbox import Anchor, Committed, Event, Outbox, Refused
from readings.messages import WIRE_INTERVALS
from readings.ranges import Ranges
from readings.row import Row
from readings.sample import Channel, Moment, Sample, Schema

KIB = 1024
BOOT = "0b1c2d3e-0000-4000-8000-000000000001"
PM = Schema("pm", "plantower.pms5003", "ab" * 32, "", (Channel("pm2_5", "ug/m3", -1), Channel("pm10", "ug/m3", 0)))
MET = Schema("met", "airgradient.local", "cd" * 32, "", (Channel("temperature", "degC", -2),))


def at(n: int, boot: str = BOOT) -> Moment:
    return Moment(boot, n * 1_000_000_000, 1_764_000_000_000 + n * 1000, "unsynced")


def opened(folder: Path, quota: int = 256 * KIB, *, begin: bool = True) -> Outbox:
    box = Outbox.open(folder / "outbox.db", quota_bytes=quota)
    if begin:
        box.begin("0.1.0", {"name": "gate"}, at(0), [PM, MET])
    return box


class Diary:
    """Everything that was ever committed, and what was said to have left: the oracle outside."""

    def __init__(self) -> None:
        self.rows: set[tuple[str, int]] = set()
        self.gone: set[tuple[str, int]] = set()

    def note(self, done: Committed | None) -> None:
        assert done is not None
        self.rows |= {(done.stream, seq) for seq in range(done.lo, done.hi + 1)}
        self.gone |= {(stream, seq) for stream, numbers in done.gone.items() for seq in numbers.numbers()}


def fill(box: Outbox, diary: Diary, rows: int, *, a_commit: int = 60, start: int = 1) -> None:
    for n in range(start, start + rows):
        box.put(Sample("pm", at(n), (n, None), (1, 9)))
        if n % a_commit == 0:
            diary.note(box.commit())


def on_card(box: Outbox) -> dict[tuple[str, int], Row]:
    return {(stream, seq): row for stream, lo, hi in box.streams() for seq, row in box.rows(stream, lo, hi)}


def tombstoned(rows: dict[tuple[str, int], Row]) -> set[tuple[str, int]]:
    said = [row.values for row in rows.values() if row.kind == "tombstone"]
    assert all(len(it["ranges"]) <= WIRE_INTERVALS for it in said)
    return {(it["stream"], seq) for it in said for seq in Ranges(it["ranges"]).numbers()}


def test_a_few_safe_rows_that_make_too_little_room_do_not_block_the_card(tmp_path: Path) -> None:
    diary = Diary()
    with opened(tmp_path) as box:
        box.may_leave = lambda: May({box.stream or "": Ranges.span(4, 5)}, drop=True)
        fill(box, diary, 6000, a_commit=600)
        rows = on_card(box)
        assert diary.rows == rows.keys() | tombstoned(rows) | {(box.stream, 4), (box.stream, 5)}


def test_the_oldest_rows_leave_with_a_tombstone_and_every_row_is_there_or_named(tmp_path: Path) -> None:
    diary = Diary()
    with opened(tmp_path) as box:
        box.may_leave = lambda: May(drop=True)
        fill(box, diary, 6000)
        rows = on_card(box)
        assert diary.rows == rows.keys() | tombstoned(rows)
        assert rows.keys() == diary.rows - diary.gone
        assert not rows.keys() & tombstoned(rows)
        assert (tmp_path / "outbox.db").stat().st_size <= 256 * KIB + 64 * KIB
        newest = [row.values[0] for row in rows.values() if row.kind == "sample"]
        assert max(newest) == 6000
        assert box.book().counts.tombstoned == len(tombstoned(rows))
        assert box.produced() == len(diary.rows)


def test_start_and_schemas_stay_while_a_row_is_read_by_them(tmp_path: Path) -> None:
    diary = Diary()
    with opened(tmp_path) as box:
        box.may_leave = lambda: May(drop=True)
        fill(box, diary, 6000)
        rows = on_card(box)
        stream = box.stream or ""
        assert [rows[stream, seq].kind for seq in (1, 2, 3)] == ["event", "schema", "schema"]
        assert all((stream, row.schema) in rows for row in rows.values() if row.schema is not None)
        assert (stream, 4) not in rows


def test_a_schema_that_no_row_left_needs_leaves_as_well(tmp_path: Path) -> None:
    diary = Diary()
    finer = Schema("pm", "plantower.pms5003", "ab" * 32, "2", (Channel("pm2_5", "ug/m3", -2), Channel("pm10", "ug/m3", 0)))
    with opened(tmp_path) as box:
        box.may_leave = lambda: May(drop=True)
        fill(box, diary, 60)
        box.put(finer)
        fill(box, diary, 6000, start=61)
        rows = on_card(box)
        assert all((box.stream, row.schema) in rows for row in rows.values() if row.schema is not None)
        assert (box.stream, 2) not in rows
        assert (box.stream, 3) in rows, "samples of met may still come"


def test_safe_rows_leave_first_and_in_silence(tmp_path: Path) -> None:
    diary = Diary()
    with opened(tmp_path) as box:
        stream = ""
        asked = []

        def may() -> May:
            asked.append(1)
            return May({stream: Ranges.span(1, box.end(stream) - 60)}, drop=True)

        box.may_leave = may
        fill(box, diary, 600)
        stream = box.stream or ""
        fill(box, diary, 6000, start=601)
        rows = on_card(box)
        assert asked
        assert not tombstoned(rows)
        assert box.book().counts.tombstoned == 0
        assert diary.gone
        assert (stream, 1) in rows
        assert (stream, 2) in rows


def test_nothing_leaves_that_is_in_no_safe_until_it_may(tmp_path: Path) -> None:
    diary = Diary()
    with opened(tmp_path) as box:
        with pytest.raises(Refused, match="the quota is used up"):
            fill(box, diary, 6000)
        assert on_card(box).keys() == diary.rows
        box.may_leave = lambda: May(drop=True)
        diary.note(box.commit())
        assert diary.gone
        assert box.dropped == 0


def test_stop_and_a_young_life_give_nothing_up() -> None:
    assert not may_drop("stop", answered=True, lived_s=1e9)
    assert not may_drop("drop_oldest", answered=False, lived_s=599)
    assert may_drop("drop_oldest", answered=False, lived_s=600)
    assert may_drop("drop_oldest", answered=True, lived_s=0)


def test_whole_streams_leave_and_their_tombstones_are_told_again(tmp_path: Path) -> None:
    """Twenty starts on a small card: every row ever committed is on it, or a tombstone on it names it."""
    diary, draw = Diary(), random.Random(3)
    for _ in range(20):
        with opened(tmp_path, 128 * KIB) as box:
            box.may_leave = lambda: May(drop=True)
            fill(box, diary, draw.randrange(100, 700), a_commit=20)
            if box.waiting:
                diary.note(box.commit())
            rows = on_card(box)
            assert diary.rows == rows.keys() | tombstoned(rows)
            assert box.produced() == len(diary.rows)
            assert box.size()[0] == len(rows)
            last = (box.stream, box.end(box.stream or ""))
    with opened(tmp_path, 128 * KIB) as box:
        assert box.previous == last
        assert len(box.streams()) < 20
        assert on_card(box).keys() == rows.keys()


def test_tombstones_that_are_safe_are_not_told_again(tmp_path: Path) -> None:
    diary = Diary()
    with opened(tmp_path) as box:
        box.may_leave = lambda: May(drop=True)
        fill(box, diary, 3000)
        lost = tombstoned(on_card(box))
        assert lost
        box.may_leave = lambda: May({box.stream or "": Ranges.span(1, box.end(box.stream or ""))})
        fill(box, diary, 3000, start=3001)
        assert not tombstoned(on_card(box))
        assert len(lost) == box.book().counts.tombstoned


def test_the_first_anchor_of_a_boot_stays_while_a_row_of_the_boot_is_left(tmp_path: Path) -> None:
    diary = Diary()
    with opened(tmp_path) as first:
        first.may_leave = lambda: May(drop=True)
        first.put(Anchor("ntp", 1_764_000_000_000, 20, at(0)))
        first.put(Anchor("hub", 1_764_000_000_500, 90, at(1)))
        fill(first, diary, 60)
        anchor = first.anchor(BOOT)
        assert anchor == (first.stream, 4)
    with opened(tmp_path) as second:
        second.may_leave = lambda: May(drop=True)
        fill(second, diary, 6000)
        assert second.anchor(BOOT) == anchor
        rows = on_card(second)
        assert rows[anchor].values == {"source": "ntp", "wall_ms": 1_764_000_000_000, "error_ms": 20}
        assert [key for key in rows if key[0] == anchor[0]] == [anchor]
        assert diary.rows == rows.keys() | tombstoned(rows)
    later = "0b1c2d3e-0000-4000-8000-000000000002"
    with opened(tmp_path, begin=False) as third:
        third.may_leave = lambda: May(drop=True)
        third.begin("0.1.0", {}, at(0, later), [PM])
        for n in range(1, 6001):
            third.put(Sample("pm", at(n, later), (n, None), (1, 9)))
            if n % 60 == 0:
                diary.note(third.commit())
        assert third.anchor(BOOT) is None
        rows = on_card(third)
        assert anchor not in rows
        assert diary.rows == rows.keys() | tombstoned(rows)


def test_a_transaction_that_breaks_in_its_middle_changes_nothing(tmp_path: Path) -> None:
    """Rows and tombstones are as they were, and the next commit does it all."""
    diary = Diary()
    with opened(tmp_path) as box:
        with pytest.raises(Refused):
            fill(box, diary, 6000)
        box.may_leave = lambda: May(drop=True)
        assert box._db is not None
        box._db.execute("CREATE TEMP TRIGGER broken BEFORE INSERT ON row WHEN NEW.seq > 1 BEGIN SELECT RAISE(ABORT, 'x'); END")
        with pytest.raises(Exception, match="x"):
            box.commit()
        box._db.execute("DROP TRIGGER broken")
        assert on_card(box).keys() == diary.rows
        diary.note(box.commit())
        rows = on_card(box)
        assert diary.rows == rows.keys() | tombstoned(rows)


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


def hog(place: Path) -> None:
    """Somebody else takes all that is left."""
    with (place / "hog").open("wb", buffering=0) as out, suppress(OSError):
        while True:
            out.write(bytes(1024))


def test_on_a_full_disk_safe_rows_go_first_then_tombstones_and_sampling_goes_on(small_disk: Path) -> None:
    """The quota is far away; the disk of 256 KiB is not."""
    diary = Diary()
    with opened(small_disk, 2 << 30) as box:
        assert (small_disk / "outbox.db.reserve").stat().st_size == 64 * KIB
        safe: dict[str, Ranges] = {}
        box.may_leave = lambda: May(safe, drop=True)
        fill(box, diary, 180)
        safe[box.stream or ""] = Ranges.span(1, 120)
        hog(small_disk)
        fill(box, diary, 3000, a_commit=20, start=181)
        rows = on_card(box)
        assert diary.rows == rows.keys() | tombstoned(rows) | {(box.stream, seq) for seq in range(1, 121)}
        assert max(row.values[0] for row in rows.values() if row.kind == "sample") == 3180
        assert box.dropped == 0
        assert {row.values["reason"] for row in rows.values() if row.kind == "tombstone"} == {"disk_full"}


def test_a_card_that_was_full_at_start_makes_room_once_it_may(small_disk: Path) -> None:
    diary = Diary()
    with opened(small_disk, 2 << 30) as box:
        fill(box, diary, 300)
    hog(small_disk)
    with opened(small_disk, 2 << 30) as box:
        with pytest.raises(Refused):
            fill(box, diary, 60)
        box.may_leave = lambda: May(drop=True)
        diary.note(box.commit())
        rows = on_card(box)
        assert diary.rows == rows.keys() | tombstoned(rows)


def damage(path: Path, needle: bytes) -> None:
    held = path.read_bytes()
    assert held.count(needle) == 1
    path.write_bytes(held.replace(needle, needle[:-1] + bytes([needle[-1] ^ 1])))


def test_a_row_with_a_flipped_bit_gets_a_tombstone_and_is_kept_for_a_person(tmp_path: Path) -> None:
    diary = Diary()
    with opened(tmp_path) as box:
        fill(box, diary, 60)
        stream = box.stream or ""
    damage(tmp_path / "outbox.db", b"1764000030000")
    with opened(tmp_path) as box:
        assert len(box.rows(stream, 1, 63)) == 62
        diary.note(box.commit())
        tombs = [row for row in on_card(box).values() if row.kind == "tombstone"]
        assert [(t.values["stream"], t.values["ranges"], t.values["n"], t.values["reason"]) for t in tombs] == [
            (stream, [[33, 33]], 1, "crc")
        ]
        assert box.book().counts.damaged == 1
        assert b"1764000030001".hex().encode() in (tmp_path / "outbox.db.quarantine").read_bytes()
        assert box.commit() is None
    done = export(tmp_path / "outbox.db", tmp_path / "out")
    assert (done.damaged, done.skipped) == (0, 0)


def test_a_damaged_tombstone_is_told_again(tmp_path: Path) -> None:
    diary = Diary()
    with opened(tmp_path) as box:
        box.may_leave = lambda: May(drop=True)
        fill(box, diary, 3000)
        lost = tombstoned(on_card(box))
        first = next(seq for (_, seq), row in on_card(box).items() if row.kind == "tombstone")
        stream = box.stream or ""
    with sqlite3.connect(tmp_path / "outbox.db") as db:
        db.execute("UPDATE row SET crc = crc + 1 WHERE seq = ?", (first,))
    db.close()
    with opened(tmp_path) as box:
        box.rows(stream, first, first)
        diary.note(box.commit())
        rows = on_card(box)
        assert lost <= tombstoned(rows)
        assert diary.rows == rows.keys() | tombstoned(rows)


def test_a_damaged_schema_in_force_is_written_again_for_the_samples_to_come(tmp_path: Path) -> None:
    with opened(tmp_path) as box:
        box.commit()
        assert box._db is not None
        box._db.execute("UPDATE row SET crc = crc + 1 WHERE seq = 2")
        assert [seq for seq, _ in box.rows(box.stream or "", 1, 3)] == [1, 3]
        box.put(Sample("pm", at(1), (1, None), (1, 9)))
        done = box.commit()
        assert done is not None
        rows = dict(box.rows(done.stream, 4, 9))
        assert [row.kind for row in rows.values()] == ["schema", "sample", "tombstone"]
        assert rows[5].schema == 4


def test_a_tombstone_names_at_most_64_intervals(tmp_path: Path) -> None:
    with opened(tmp_path) as box:
        for n in range(1, 400):
            box.put(Event("note", at(n), {"n": n}))
        box.commit()
        assert box._db is not None
        box._db.execute("UPDATE row SET crc = crc + 1 WHERE seq > 3 AND seq % 2 = 0")
        box.rows(box.stream or "", 1, 1000)
        box.commit()
        rows = on_card(box)
        tombs = [row.values for row in rows.values() if row.kind == "tombstone"]
        assert len(tombs) == 4
        assert len(tombstoned(rows)) == 200


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_outbox_full import *
box = opened(Path({folder!r}), 48 * KIB)
box.may_leave = lambda: May(drop=True)
n = 0
while True:
    for _ in range(20):
        n += 1
        box.put(Sample("pm", at(n), (n, None), (1, 9)))
    done = box.commit()
    print(done.stream, done.hi, flush=True)
"""


def test_kill_9_at_any_moment_of_an_eviction_leaves_each_row_on_the_card_or_named(tmp_path: Path) -> None:
    script = WRITER.format(here=str(Path(__file__).parent), folder=str(tmp_path))
    draw, promised = random.Random(7), set[tuple[str, int]]()
    for _ in range(4):
        child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(draw.randrange(25, 50))]
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
        child.wait()
        child.stdout.close()
        stream, end = next(line for line in reversed(lines) if line.endswith("\n")).split()
        promised |= {(stream, seq) for seq in range(1, int(end) + 1)}
        with opened(tmp_path, 48 * KIB, begin=False) as box:
            rows = on_card(box)
            assert promised <= rows.keys() | tombstoned(rows)
            assert not rows.keys() & tombstoned(rows)
    assert tombstoned(rows)
