"""Ruined outbox files: each row that can still be read comes back under its own number, each one that cannot is named as lost."""

import queue
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.outbox import Event, Outbox
from edge.pages import Pages, committed, varint
from edge.rescue import Part, Rescue, damaged_files
from edge.salvage import Done, Found, Numbers, read
from readings.ranges import Ranges
from readings.row import Row, parse
from readings.sample import Channel, Moment, Sample, Schema

MIB = 1 << 20
BOOT = "0b1c2d3e-0000-4000-8000-000000000001"
PM = Schema("pm", "plantower.pms5003", "ab" * 32, "", tuple(Channel("pm2_5", "ug/m3", -e) for e in range(12)))
Rows = dict[tuple[str, int], Row]


def at(n: int) -> Moment:
    return Moment(BOOT, n * 1_000_000_000, 1_764_000_000_000 + n * 1000, "unsynced")


def opened(folder: Path) -> Outbox:
    box = Outbox.open(folder / "outbox.db", quota_bytes=64 * MIB)
    box.begin("0.1.0", {"name": "gate"}, at(0), [PM])
    return box


def fill(box: Outbox, rows: int) -> None:
    """Rows of 12 channels: longer than fits into an index page's cell, so that each has an overflow page."""
    for n in range(1, rows + 1):
        box.put(Sample("pm", at(n), tuple(n * 1000 + c for c in range(12)), (1,) * 12))
        if n % 40 == 0:
            box.commit()
    box.commit()


def on_card(box: Outbox) -> Rows:
    return {(stream, seq): row for stream, lo, hi in box.streams() for seq, row in box.rows(stream, lo, hi)}


def three_starts(folder: Path) -> Rows:
    for _ in range(3):
        with opened(folder) as box:
            fill(box, 150)
            rows = on_card(box)
    return rows


def rescued(folder: Path, *, remember: Callable[[Rescue], None] = lambda _: None) -> Outbox:
    """A daemon's start over what lies in the folder, until all that was moved aside is read."""
    box = opened(folder)
    posted: queue.SimpleQueue[object] = queue.SimpleQueue()
    rescue = Rescue(box, posted.put, lambda: at(0))
    remember(rescue)
    box.commit()
    rescue.look()
    while rescue.at_work:
        part = posted.get(timeout=10)
        assert isinstance(part, Part)
        rescue.take(part)
        box.commit()
        rescue.again()
    return box


def tombstoned(rows: Rows) -> set[tuple[str, int]]:
    said = [row.values for row in rows.values() if row.kind == "tombstone"]
    return {(it["stream"], seq) for it in said for seq in Ranges(it["ranges"]).numbers()}


def patch(path: Path, lo: int, hi: int, fill_with: Callable[[int], bytes] = bytes) -> None:
    with path.open("r+b") as file:
        file.seek(lo)
        file.write(fill_with(hi - lo))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "zeroed header": lambda path: patch(path, 0, 100),
    "first page": lambda path: patch(path, 0, 1024),
    "first 8 KiB, with every table of names": lambda path: patch(path, 0, 8192),
    "noise over the second page": lambda path: patch(path, 1024, 2048, random.Random(2).randbytes),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_unreadable_file_gives_back_what_it_has(tmp_path: Path, damage: str) -> None:
    before = three_starts(tmp_path)
    DAMAGES[damage](tmp_path / "outbox.db")
    with sqlite3.connect(tmp_path / "outbox.db") as db, pytest.raises(sqlite3.DatabaseError):
        db.execute("SELECT * FROM meta, stream, row").fetchall()
    db.close()
    if not damaged_files(tmp_path / "outbox.db") and damage.startswith("noise"):
        (tmp_path / "outbox.db").rename(tmp_path / "outbox.db.damaged-x")
    with rescued(tmp_path) as box:
        after = on_card(box)
        assert all(after[key] == row for key, row in before.items() if key in after)
        missing = before.keys() - after.keys()
        unnamed = {key for key in missing if key[0] not in {stream for stream, _ in after}}
        assert missing - unnamed <= tombstoned(after)
        assert len(missing) < 30 or unnamed
        if "8 KiB" in damage:
            assert {stream for stream, _ in unnamed} == {list(dict.fromkeys(stream for stream, _ in before))[-1]}
        else:
            assert not unnamed
        said = [row.values for row in after.values() if row.kind == "event" and row.values["event"] == "salvaged"]
        assert said[0]["rows"] == len(before) - len(missing)
        streams = [stream for stream, _, _ in box.streams()]
        assert streams == [*[s for s in dict.fromkeys(s for s, _ in before) if s in streams], box.stream]
    assert damaged_files(tmp_path / "outbox.db") == []
    assert [path.stat().st_size for path in tmp_path.glob("outbox.db.salvaged-*")]


def test_names_that_only_memory_knows_are_used(tmp_path: Path) -> None:
    with opened(tmp_path) as box:
        fill(box, 100)
        before, known, ends = on_card(box), box.numbers(), dict(box.book().ends)
    patch(tmp_path / "outbox.db", 0, 8192)
    with rescued(tmp_path, remember=lambda rescue: rescue.remember(known, ends)) as box:
        after = on_card(box)
        assert before.keys() <= after.keys() | tombstoned(after)
        assert len(before.keys() & after.keys()) > 75


def test_a_file_deleted_under_the_daemon_comes_back_from_its_wal(tmp_path: Path) -> None:
    box = opened(tmp_path)
    fill(box, 120)
    before, card = on_card(box), box.card
    (tmp_path / "outbox.db").unlink()
    fresh = box.renewed("gone")
    assert fresh.card != card
    fresh.close()
    with rescued(tmp_path) as box:
        assert before.items() <= on_card(box).items()


def test_what_was_committed_since_an_old_copy_comes_back_from_the_wal(tmp_path: Path) -> None:
    """Somebody put yesterday's file in the place of today's: today's rows are joined to it, under their numbers."""
    box = opened(tmp_path)
    fill(box, 40)
    assert box._db is not None
    box._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    (tmp_path / "old").write_bytes((tmp_path / "outbox.db").read_bytes())
    fill(box, 40)
    before, card, known, ends = on_card(box), box.card, box.numbers(), dict(box.book().ends)
    (tmp_path / "old").rename(tmp_path / "outbox.db")
    fresh = box.renewed("replaced")
    assert fresh.card == card
    fresh.close()
    with rescued(tmp_path, remember=lambda rescue: rescue.remember(known, ends)) as box:
        after = on_card(box)
        assert before.keys() <= after.keys() | tombstoned(after)
        assert len(before.keys() & after.keys()) > 75


def test_salvage_that_was_cut_short_goes_on_at_the_next_start_and_names_nothing_lost_too_early(tmp_path: Path) -> None:
    before = three_starts(tmp_path)
    patch(tmp_path / "outbox.db", 0, 1024)
    opened(tmp_path).close()
    (aside,) = damaged_files(tmp_path / "outbox.db")
    with opened(tmp_path) as box:
        part = next(iter(read(aside)))
        assert isinstance(part, Found)
        box.adopt(part.rows[:100])
        box.commit()
        assert box.salvaging
        assert [stream for stream, _, _ in box.streams()] == [box.stream]
    with rescued(tmp_path) as box:
        after = on_card(box)
        assert before.keys() <= after.keys() | tombstoned(after)
        assert not box.salvaging
    with opened(tmp_path) as box:
        assert len(box.streams()) == len({stream for stream, _ in after})
        assert on_card(box).keys() == after.keys()


def test_a_damaged_file_that_somebody_took_away_leaves_no_stream_untold(tmp_path: Path) -> None:
    three_starts(tmp_path)
    patch(tmp_path / "outbox.db", 0, 1024)
    with opened(tmp_path) as box:
        (aside,) = damaged_files(tmp_path / "outbox.db")
        part = next(iter(read(aside)))
        assert isinstance(part, Found)
        box.adopt(part.rows[:100:3])
        aside.unlink()
    with rescued(tmp_path) as box:
        box.put(Event("note", at(1)))
        box.commit()
        after = on_card(box)
        stream = part.rows[0].stream
        assert not box.salvaging
        assert tombstoned(after)
        lo, hi = next((lo, hi) for name, lo, hi in box.streams() if name == stream)
        assert {(stream, seq) for seq in range(lo, hi + 1)} <= after.keys() | tombstoned(after)


@pytest.mark.parametrize("seed", range(12))
def test_flipped_bits_anywhere_never_bring_a_row_that_never_was(tmp_path: Path, seed: int) -> None:
    before = three_starts(tmp_path)
    draw = random.Random(seed)
    path = tmp_path / "outbox.db"
    held = bytearray(path.read_bytes())
    for _ in range(60):
        held[draw.randrange(len(held))] ^= 1 << draw.randrange(8)
    path.rename(tmp_path / "outbox.db.damaged-x")
    (tmp_path / "outbox.db.damaged-x").write_bytes(held)
    found = [row for part in read(tmp_path / "outbox.db.damaged-x") if isinstance(part, Found) for row in part.rows]
    assert len(found) > 0.6 * len(before)
    assert all(before[row.stream, row.seq] == parse(row.raw) for row in found)


def test_a_flipped_bit_in_a_rows_number_is_no_other_row(tmp_path: Path) -> None:
    """The checksum covers what a row says, not where it stands; its neighbours do."""
    before = three_starts(tmp_path)
    path = tmp_path / "outbox.db"
    held = path.read_bytes()
    with Pages(path) as pages:
        rows = [(n, i) for n in range(1, pages.count + 1) for i, (_, r) in enumerate(pages.records(n)) if len(r) == 4]
    draw, flipped = random.Random(1), 0
    for number, cell in draw.sample(rows, 60):
        page, kind = (number - 1) * 1024, held[(number - 1) * 1024]
        first = page + (12 if kind == 2 else 8) + 2 * cell
        at_cell = page + int.from_bytes(held[first : first + 2], "big") + (4 if kind == 2 else 0)
        _, body = varint(held, at_cell)
        head, _ = varint(held, body)
        for place in range(body + head, body + head + 3):  # stream and seq, as far as they are not 0 or 1
            broken = bytearray(held)
            broken[place] ^= 1 << draw.randrange(8)
            path.write_bytes(broken)
            flipped += 1
            found = [row for part in read(path) if isinstance(part, Found) for row in part.rows]
            assert all(before[row.stream, row.seq] == parse(row.raw) for row in found)
    assert flipped == 180


def test_a_transaction_that_was_rolled_back_is_not_read_from_the_wal(tmp_path: Path) -> None:
    box = opened(tmp_path)
    fill(box, 40)
    path = tmp_path / "outbox.db"
    whole = beside_wal(path).read_bytes()
    cut = whole[: -(24 + 1024)]
    assert committed(whole) != committed(cut)
    assert committed(cut)
    assert committed(whole[:40]) == {}
    flipped = bytearray(whole)
    flipped[32 + 24 + 500] ^= 1
    assert committed(bytes(flipped)) == {}
    box.close()


def beside_wal(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


@pytest.mark.parametrize("size", [0, 1, 100, 1023, 1024, 5000])
def test_files_of_any_size_and_content_are_read_to_their_end(tmp_path: Path, size: int) -> None:
    for name, content in (("noise", random.Random(size).randbytes(size)), ("ones", b"\x0a" * size), ("zeros", bytes(size))):
        (tmp_path / name).write_bytes(content)
        (done,) = read(tmp_path / name)
        assert isinstance(done, Done)
        assert done.found == {}
    with Pages(tmp_path / "nowhere") as pages:
        assert list(pages.records(1)) == []


@pytest.mark.parametrize(
    ("raw", "value"), [("00", 0), ("7f", 127), ("8100", 128), ("ffffffffffffffffff", -1), ("81808080808080ff05", None)]
)
def test_varints(raw: str, value: int | None) -> None:
    got, end = varint(bytes.fromhex(raw), 0)
    assert value is None or got == value
    assert end == len(raw) // 2


@given(st.sets(st.integers(1, 300)))
def test_numbers_in_any_order_are_the_ranges_of_them_all(numbers: set[int]) -> None:
    it = Numbers()
    for number in sorted(numbers, key=lambda n: (n * 7919) % 101):
        it.add(number)
    assert it.ranges() == Ranges.of(numbers)
    assert all((n in it) == (n in numbers) for n in range(310))
