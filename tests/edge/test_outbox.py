"""The outbox on real files: what is committed is there, what the disk refuses waits, what is ruined is moved aside."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge import outbox as module
from edge.export import export
from edge.outbox import Committed, Damaged, Event, Outbox, Refused
from readings.batch import HEADER_BYTES, decode, read_header
from readings.errors import Retry, Stop
from readings.row import crc, parse, schema_of
from readings.sample import Channel, Moment, Sample, Schema
from tests.servers import absent

MIB = 1 << 20
BOOT = "0b1c2d3e-0000-4000-8000-000000000001"
PM = Schema("pm", "plantower.pms5003", "ab" * 32, "", (Channel("pm2_5", "ug/m3", -1), Channel("pm10", "ug/m3", 0)))


def at(n: int) -> Moment:
    return Moment(BOOT, n * 1_000_000_000, 1_764_000_000_000 + n * 1000, "unsynced")


def sample(n: int, value: int | None = None) -> Sample:
    return Sample("pm", at(n), (n if value is None else value, None), (1, 9))


def opened(folder: Path, quota: int = 64 * MIB) -> Outbox:
    box = Outbox.open(folder / "outbox.db", quota_bytes=quota)
    box.begin("0.1.0", {"name": "gate"}, at(0), [PM])
    return box


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    with opened(tmp_path) as it:
        yield it


def test_a_start_writes_its_event_and_schemas_before_the_first_sample(box: Outbox) -> None:
    assert box.stream is None
    box.put(sample(1))
    done = box.commit()
    assert done == Committed(box.stream or "", 1, 3)
    rows = dict(box.rows(done.stream, 1, 3))
    assert rows[1].values == {"event": "start", "version": "0.1.0", "site": {"name": "gate"}, "card": box.card, "previous": None}
    assert schema_of(rows[2]) == PM
    assert (rows[3].kind, rows[3].schema, rows[3].values, rows[3].flags) == ("sample", 2, [1, None], [1, 9])
    assert box.schemas_needed(done.stream, 3, 3) == [2]
    assert len(done.stream) == 16
    assert int(done.stream, 16) < 1 << 63


def test_nothing_is_a_row_before_its_commit(box: Outbox, tmp_path: Path) -> None:
    box.put(sample(1))
    with Outbox.read(tmp_path / "outbox.db") as seen:
        assert seen.streams() == []
    box.commit()
    with Outbox.read(tmp_path / "outbox.db") as seen:
        assert [hi for _, _, hi in seen.streams()] == [3]
        assert seen.card == box.card


def test_an_empty_flush_commits_nothing(box: Outbox) -> None:
    box.commit()
    assert box.commit() is None


def test_the_next_start_names_the_stream_before_it_and_keeps_the_card(tmp_path: Path) -> None:
    with opened(tmp_path) as first:
        first.put(sample(1))
        first.commit()
        card, stream = first.card, first.stream
    with opened(tmp_path) as second:
        second.commit()
        assert second.card == card
        assert second.stream != stream
        assert second.previous == (stream, 3)
        assert second.rows(second.stream or "", 1, 1)[0][1].values["previous"] == [stream, 3]
        assert second.streams() == [(stream, 1, 3), (second.stream, 1, 2)]
        assert second.produced() == 5
        assert second.size()[0] == 5
        assert second.end(stream or "") == 3


def test_a_new_schema_scales_the_samples_after_it(box: Outbox) -> None:
    finer = Schema("pm", "plantower.pms5003", "ab" * 32, "v2", (Channel("pm2_5", "ug/m3", -2), Channel("pm10", "ug/m3", 0)))
    box.put(sample(1))
    box.put(finer)
    box.put(sample(2))
    done = box.commit()
    assert done is not None
    rows = dict(box.rows(done.stream, 3, 5))
    assert (rows[3].schema, rows[4].kind, rows[5].schema) == (2, "schema", 4)
    assert box.schemas_needed(done.stream, 3, 5) == [2, 4]


def test_an_absurd_row_is_left_out_and_the_numbers_keep_no_hole(box: Outbox) -> None:
    box.put(sample(1))
    box.put(Event("novel", at(1), {"text": "x" * 5000}))
    box.put(Sample("nobody", at(2), (1,), (1,)))
    box.put(sample(3))
    done = box.commit()
    assert done is not None
    assert [seq for seq, _ in box.rows(done.stream, 1, 9)] == [1, 2, 3, 4]
    assert box.dropped == 2


def test_canonical_bytes_and_crc_are_what_is_stored(box: Outbox) -> None:
    box.put(sample(7))
    done = box.commit()
    assert done is not None
    (seq, raw, check) = box.raw_rows(done.stream, 3, 3)[0]
    assert (seq, check) == (3, crc(raw))
    assert raw == (b'["sample","pm",2,"0b1c2d3e-0000-4000-8000-000000000001",7000000000,1764000007000,"unsynced",[7,null],[1,9]]')


def test_the_file_has_small_pages_and_full_sync(box: Outbox, tmp_path: Path) -> None:
    box.commit()
    with sqlite3.connect(tmp_path / "outbox.db") as db:
        assert db.execute("PRAGMA page_size").fetchone() == (1024,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert box._db is not None
    assert box._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_second_daemon_is_told_the_pid_of_the_first(box: Outbox, tmp_path: Path) -> None:
    with pytest.raises(Stop, match=rf"in use by the daemon with pid {os.getpid()}; stop that one first") as refused:
        Outbox.open(tmp_path / "outbox.db", quota_bytes=MIB)
    assert refused.value.exit_code == 2


def test_a_lock_file_left_by_a_dead_daemon_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "outbox.db.lock").write_text("1\n")
    opened(tmp_path).close()
    assert (tmp_path / "outbox.db.lock").read_text() == f"{os.getpid()}\n"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(Retry, match="nowhere: the store's folder is missing; create it") as refused:
        Outbox.open(tmp_path / "nowhere" / "outbox.db", quota_bytes=MIB)
    assert refused.value.exit_code == 75


def test_a_folder_that_takes_no_files_is_named() -> None:
    with pytest.raises(Retry, match="/proc: the store's folder is not writable") as refused:
        Outbox.open(Path("/proc/outbox.db"), quota_bytes=MIB)
    assert refused.value.exit_code == 75


def fill_up(box: Outbox, promised: list[int]) -> None:
    for n in range(1, 5000):
        box.put(sample(n))
        if n % 20 == 0 and (done := box.commit()):
            promised.append(done.hi)


def test_a_full_quota_refuses_commits_and_a_larger_one_takes_what_waited(tmp_path: Path) -> None:
    with opened(tmp_path, quota=64 * 1024) as box:
        promised: list[int] = []
        with pytest.raises(Refused, match=r"the quota is used up; raise store\.quota"):
            fill_up(box, promised)
        waiting = box.waiting
        with pytest.raises(Refused):
            box.commit()
        assert box.waiting == waiting == 20
        assert box.dropped == 0
        rows = box.rows(box.stream or "", 1, 10_000)
        assert [seq for seq, _ in rows] == list(range(1, promised[-1] + 1))
        assert box._db is not None
        box._db.execute("PRAGMA max_page_count = 1000").fetchone()
        done = box.commit()
        assert done is not None
        assert (done.lo, done.hi) == (promised[-1] + 1, promised[-1] + 20)


def test_the_ring_drops_the_oldest_samples_but_never_start_or_schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RING_S", 0.05)
    with opened(tmp_path) as box, sqlite3.connect(tmp_path / "outbox.db", isolation_level=None) as other:
        monkeypatch.setattr("edge.card.BUSY_S", 0.0)
        assert box._db is not None
        box._db.execute("PRAGMA busy_timeout = 0")
        other.execute("BEGIN IMMEDIATE")
        box.put(sample(1))
        time.sleep(0.1)
        box.put(sample(2))
        with pytest.raises(Refused, match="locked"):
            box.commit()
        assert box.dropped == 1
        other.execute("ROLLBACK")
        done = box.commit()
        assert done is not None
        rows = box.rows(done.stream, 1, 9)
        assert [row.kind for _, row in rows] == ["event", "schema", "sample"]
        assert rows[2][1].values == [2, None]


def test_the_ring_is_bounded_in_items_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RING_ITEMS", 200)
    with opened(tmp_path) as box:
        for n in range(1000):
            box.put(sample(n))
        assert box.waiting <= 200
        assert box.dropped >= 800
        done = box.commit()
        assert done is not None
        assert box.rows(done.stream, 1, 1)[0][1].values["event"] == "start"


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


def fill(place: Path) -> Path:
    hog = place / "hog"
    with hog.open("wb", buffering=0) as out:
        while True:
            try:
                out.write(bytes(4096))
            except OSError:
                return hog


def test_a_full_disk_refuses_and_recovers_alone(small_disk: Path) -> None:
    with opened(small_disk) as box:
        box.put(sample(1))
        assert box.commit() is not None
        hog = fill(small_disk)
        for n in range(2, 400):
            box.put(sample(n))
        with pytest.raises(Refused, match="full; make room on the disk"):
            box.commit()
        hog.unlink()
        done = box.commit()
        assert done is not None
        assert (done.lo, done.hi) == (4, 401)
        assert len(box.rows(done.stream, 1, 1000)) == 401


def test_a_start_on_a_full_disk_samples_into_ram_until_there_is_room(small_disk: Path) -> None:
    hog = fill(small_disk)
    with opened(small_disk) as box:
        box.put(sample(1))
        with pytest.raises(Refused):
            box.commit()
        assert box.stream is None
        hog.unlink()
        done = box.commit()
        assert done is not None
        assert done.hi == 3
        assert box.card


def test_a_restart_on_a_full_disk_keeps_the_card(small_disk: Path) -> None:
    with opened(small_disk) as box:
        box.commit()
        card, stream = box.card, box.stream
    hog = fill(small_disk)
    with opened(small_disk) as box:
        box.put(sample(1))
        with pytest.raises(Refused):
            box.commit()
        hog.unlink()
        assert box.commit() is not None
        assert box.card == card
        assert box.previous == (stream, 2)


def test_a_read_only_remount_refuses_and_recovers(small_disk: Path) -> None:
    with opened(small_disk) as box:
        box.commit()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(Retry, match="not writable: Read-only file system"):
        Outbox.open(small_disk / "outbox.db", quota_bytes=MIB)
    with Outbox.read(small_disk / "outbox.db") as seen:
        assert seen.produced() == 2
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    with opened(small_disk) as box:
        assert box.commit() is not None


@pytest.mark.parametrize("damage", ["zeroed header", "noise", "a text file", "one page of the schema"])
def test_an_unreadable_file_is_moved_aside_and_a_new_card_begins(tmp_path: Path, damage: str) -> None:
    with opened(tmp_path) as box:
        box.commit()
        card = box.card
    path = tmp_path / "outbox.db"
    held = bytearray(path.read_bytes())
    if damage == "zeroed header":
        held[:100] = bytes(100)
    elif damage == "noise":
        held = bytearray(random.Random(1).randbytes(len(held)))
    elif damage == "a text file":
        held = bytearray(b"hello\n" * 400)
    else:
        held[100:1024] = bytes(924)
    path.write_bytes(held)
    with opened(tmp_path) as box:
        box.put(sample(1))
        assert box.commit() is not None
        assert box.card != card
        assert box.previous is None
    aside = [a for a in tmp_path.glob("outbox.db.damaged-*") if not a.name.endswith("-wal")]
    assert [a.read_bytes() for a in aside] == [bytes(held)]


def test_damage_under_a_running_daemon_loses_nothing_that_waits(box: Outbox, tmp_path: Path) -> None:
    box.commit()
    card = box.card
    box.put(sample(1))
    (tmp_path / "outbox.db").unlink()
    with pytest.raises(Damaged, match="removed or replaced"):
        box.commit()
    with box.renewed("gone") as fresh:
        fresh.begin("0.1.0", {}, at(2), [PM])
        done = fresh.commit()
        assert done is not None
        assert [row.kind for _, row in fresh.rows(done.stream, 1, 9)] == ["event", "schema", "sample"]
        assert fresh.card != card
        with pytest.raises(Stop, match="in use"):
            Outbox.open(tmp_path / "outbox.db", quota_bytes=MIB)


def test_a_header_zeroed_under_a_running_daemon_is_noticed_at_the_next_commit(box: Outbox, tmp_path: Path) -> None:
    box.put(sample(1))
    box.commit()
    card = box.card
    with (tmp_path / "outbox.db").open("r+b") as file:
        file.write(bytes(100))
    box.put(sample(2))
    with pytest.raises(Damaged, match="header was overwritten"):
        box.commit()
    with box.renewed("header") as fresh:
        fresh.begin("0.1.0", {}, at(2), [PM])
        assert fresh.commit() is not None
        assert fresh.card != card
    assert [a for a in tmp_path.glob("outbox.db.damaged-*") if a.stat().st_size]


def test_a_restored_older_file_is_taken_over_not_thrown_away(tmp_path: Path) -> None:
    with opened(tmp_path) as box:
        box.commit()
        old = (box.stream, 2)
    saved = (tmp_path / "outbox.db").read_bytes()
    with opened(tmp_path) as box:
        box.put(sample(1))
        box.commit()
        card = box.card
        (tmp_path / "new").write_bytes(saved)
        (tmp_path / "new").rename(tmp_path / "outbox.db")
        box.put(sample(2))
        with pytest.raises(Damaged):
            box.commit()
        with box.renewed("replaced") as fresh:
            fresh.begin("0.1.0", {}, at(2), [PM])
            assert fresh.commit() is not None
            assert (fresh.card, fresh.previous) == (card, old)


def test_a_flipped_bit_is_counted_and_never_passed_on(tmp_path: Path) -> None:
    with opened(tmp_path) as box:
        for n in range(1, 6):
            box.put(sample(n))
        box.commit()
        stream = box.stream or ""
    path = tmp_path / "outbox.db"
    held = path.read_bytes()
    assert held.count(b"1764000003000") == 1
    path.write_bytes(held.replace(b"1764000003000", b"1764000003001"))
    with Outbox.read(path) as seen:
        assert [seq for seq, _ in seen.rows(stream, 1, 7)] == [1, 2, 3, 4, 6, 7]
        assert seen.damaged_rows == 1
    done = export(path, tmp_path / "out.ndjson")
    assert (done.rows, done.skipped, done.damaged) == (6, 0, 1)


def test_a_file_of_a_later_format_is_refused_not_moved(tmp_path: Path) -> None:
    opened(tmp_path).close()
    with sqlite3.connect(tmp_path / "outbox.db") as db:
        db.execute("UPDATE meta SET value = '2' WHERE key = 'format'")
    db.close()
    with pytest.raises(Stop, match="it has format 2, this version writes 1; run the version that wrote it"):
        opened(tmp_path)


def test_the_wal_stays_small_over_many_commits(box: Outbox, tmp_path: Path) -> None:
    for n in range(6000):
        box.put(sample(n))
        if n % 20 == 0:
            box.commit()
    assert (tmp_path / "outbox.db-wal").stat().st_size < 3 * MIB
    assert (tmp_path / "outbox.db").stat().st_size > 300_000


WRITER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {here!r})
from test_outbox import at, opened, sample
box = opened(Path({folder!r}))
n = 0
while True:
    for _ in range(20):
        n += 1
        box.put(sample(n))
    done = box.commit()
    print(done.stream, done.hi, flush=True)
"""


def test_every_promised_row_survives_kill_9(tmp_path: Path) -> None:
    script = WRITER.format(here=str(Path(__file__).parent), folder=str(tmp_path))
    draw = random.Random(4)
    promised: dict[str, int] = {}
    for _ in range(5):
        child = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        lines = [child.stdout.readline()]
        time.sleep(draw.uniform(0.0, 0.15))
        child.send_signal(signal.SIGKILL)
        lines += child.stdout.readlines()
        child.wait()
        child.stdout.close()
        stream, end = next(line for line in reversed(lines) if line.endswith("\n")).split()
        promised[stream] = int(end)
    with opened(tmp_path) as box:
        assert {stream: box.end(stream) >= hi for stream, hi in promised.items()} == dict.fromkeys(promised, True)
        for stream, hi in promised.items():
            rows = box.rows(stream, 1, hi)
            assert [seq for seq, _ in rows] == list(range(1, hi + 1))
            assert [row.values[0] for _, row in rows[2:]] == list(range(1, hi - 1))


FAILING = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_outbox import at, opened, sample
from edge.outbox import StorageFailed
box = opened(Path({folder!r}))
box.commit()
print("ready", flush=True)
n = 0
while True:
    n += 1
    box.put(sample(n))
    try:
        done = box.commit()
    except StorageFailed as failed:
        print("failed", failed, flush=True)
        box.fail()
        box.close()
        sys.exit(failed.exit_code)
    print(done.stream, done.hi, flush=True)
"""


def test_a_failed_fsync_ends_the_process_and_the_file_is_never_synced_again(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    script = FAILING.format(here=str(Path(__file__).parent), folder=str(tmp_path))
    inject = ["strace", "-f", "-o", str(trace), "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO:when=20+"]
    try:
        run = subprocess.run([*inject, sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    except FileNotFoundError:
        absent("strace")
    assert run.returncode == 75, run.stderr
    lines = run.stdout.splitlines()
    assert "SQLITE_IOERR_FSYNC" in lines[-1]
    calls = [line for line in trace.read_text().splitlines() if "sync(" in line]
    assert len([line for line in calls if "EIO" in line]) == 1
    stream, hi = lines[-2].split()
    with opened(tmp_path) as box:
        assert len(box.rows(stream, 1, int(hi))) == int(hi)


def test_export_writes_one_committed_row_a_line(tmp_path: Path) -> None:
    with opened(tmp_path) as box:
        box.put(sample(123))
        box.put(Event("sensor_state", at(124), {"state": "no_answer", "why": "silent"}, "pm"))
        box.commit()
        done = export(tmp_path / "outbox.db", tmp_path / "out.ndjson", canonical=True)
    assert (done.rows, done.skipped, done.damaged) == (4, 0, 0)
    lines = [json.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    assert [line["seq"] for line in lines] == [1, 2, 3, 4]
    got = lines[2]
    assert list(got) == ["stream", "seq", "kind", "sensor", "time", "values", "flags", "crc", "canonical"]
    assert got["values"] == {"pm2_5": 12.3, "pm10": None}
    assert got["flags"] == {"pm2_5": 1, "pm10": 9}
    assert got["time"] == "2025-11-24T16:02:03.000Z"
    assert crc(got["canonical"].encode()) == got["crc"]
    assert parse(got["canonical"].encode()).values == [123, None]
    assert lines[3]["values"] == {"event": "sensor_state", "state": "no_answer", "why": "silent"}


def test_raw_export_is_wire_batches_that_decode_to_the_same_rows(tmp_path: Path) -> None:
    with opened(tmp_path) as box:
        for n in range(50):
            box.put(sample(n))
        box.commit()
        export(tmp_path / "outbox.db", tmp_path / "out.hm", raw=True)
        message = (tmp_path / "out.hm").read_bytes()
        header = read_header(message)
        assert (header.stream, header.lo, header.n) == (box.stream, 1, 52)
        assert len(message) > HEADER_BYTES
        assert decode(message) == [row for _, row in box.rows(header.stream, 1, 52)]


def test_reading_what_is_no_outbox_says_so(tmp_path: Path) -> None:
    with pytest.raises(Retry, match="there is no outbox file; give the gateway's store"):
        Outbox.read(tmp_path / "none.db")
    with sqlite3.connect(tmp_path / "other.db") as db:
        db.execute("CREATE TABLE t(x)")
    db.close()
    with pytest.raises(Retry, match="this is another database"):
        Outbox.read(tmp_path / "other.db")
