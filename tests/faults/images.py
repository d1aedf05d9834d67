"""A recording of an outbox's writes in; disk images after power cuts at random moments, opened and judged, out."""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from msgspec import Struct

from edge.eviction import May, loss_of
from edge.outbox import Damaged, Outbox
from readings.ranges import Ranges
from readings.row import parse
from readings.sample import Sample
from tests.faults import power
from tests.faults.power import LOSSES, Loss, Op
from tests.faults.writer import CHANNELS, PM, moment

LIES = (0.0, 0.0, 0.0, 0.3, 1.0)
"""Shares of syncs that a disk drops; three images of five are of an honest one."""
ROOT = Path(__file__).resolve().parents[2]

Promises = dict[tuple[str, int], int]
"""(stream, number) -> crc."""


class Recording(Struct, frozen=True):
    """One run of the writer."""

    ops: list[Op]
    quota_bytes: int


class Verdict(Struct, frozen=True):
    """`lost`: promised rows that are neither there nor tombstoned; `wrong`: with another content; `renewed`: a new card began."""

    loss: Loss
    lies: float
    promised: int
    lost: int
    wrong: int
    renewed: bool

    @property
    def good(self) -> bool:
        """An honest disk keeps all, a lying one never says something else."""
        return self.wrong == 0 and (self.lies > 0 or (self.lost == 0 and not (self.renewed and self.promised)))


def record(folder: Path, library: Path, *, seed: int, commits: int, quota_bytes: int) -> Recording:
    """Runs the writer under the journal."""
    card, journal = folder / f"card{seed}", folder / f"journal{seed}"
    card.mkdir()
    command = [sys.executable, "-m", "tests.faults.writer", str(card), str(seed), str(commits), str(quota_bytes)]
    subprocess.run(command, check=True, cwd=ROOT, env=power.environment(library, journal, card), timeout=120)
    return Recording(power.read(journal, card), quota_bytes)


def judge(recording: Recording, seed: int) -> Verdict:
    """One image: cut at a random moment, under a loss model and a share of lies; opened as the daemon opens it."""
    chance = Random(seed)
    loss, lies = LOSSES[seed % len(LOSSES)], LIES[seed // len(LOSSES) % len(LIES)]
    cut = chance.randrange(1, len(recording.ops) + 1)
    ops = recording.ops[:cut]
    promised = _promised(ops)
    disk = power.after_a_cut(power.honest_or_lying([op for op in ops if op.path != "promises"], lies, chance), loss, chance)
    with TemporaryDirectory(prefix="harmattan-image-") as name:
        folder = Path(name)
        disk.write_to(folder)
        lost, wrong, renewed = _opened(folder / "outbox.db", recording.quota_bytes, promised)
    return Verdict(loss, lies, len(promised), lost, wrong, renewed)


def _promised(ops: Sequence[Op]) -> Promises:
    out: Promises = {}
    for op in ops:
        if op.path == "promises" and op.kind == "w":
            for line in op.data.decode().splitlines():
                stream, seq, crc = line.split()
                out[stream, int(seq)] = int(crc)
    return out


def _opened(path: Path, quota_bytes: int, promised: Promises) -> tuple[int, int, bool]:
    """Starts as the daemon does, commits a sample, and compares."""
    box = Outbox.open(path, quota_bytes=quota_bytes)
    try:
        box.may_leave = lambda: May(drop=True)
        found = _rows(box)
        box, renewed = _goes_on(box)
        renewed = renewed or any(path.parent.glob("*.damaged-*"))
        gone = _tombstoned(box)
        missing = [key for key in promised if key not in found and key[1] not in gone.get(key[0], Ranges())]
        wrong = [key for key, crc in promised.items() if found.get(key, crc) != crc]
    finally:
        box.close()
    return len(missing), len(wrong), renewed


def _goes_on(box: Outbox) -> tuple[Outbox, bool]:
    """A new life's first rows and a sample are committed; a card that turns out to be ruined is renewed by itself."""
    for renewed in (False, True):
        try:
            box.begin("0.1.0", {"name": "gate"}, moment(1_000_000), [PM])
            box.put(Sample("pm", moment(1_000_001), (1,) * CHANNELS, (1,) * CHANNELS))
            assert box.commit() is not None
        except Damaged as damaged:
            box = box.renewed(damaged.why)
        else:
            return box, renewed
    raise AssertionError("a new card is damaged too")


def _rows(box: Outbox) -> Promises:
    try:
        return {(stream, seq): crc for stream, lo, hi in box.streams() for seq, _, crc in box.raw_rows(stream, lo, hi)}
    except Damaged:
        return {}


def _tombstoned(box: Outbox) -> dict[str, Ranges]:
    out: dict[str, Ranges] = {}
    with suppress(Damaged):  # only a disk that lies has such pages; nothing that could be read is wrong
        for stream, lo, hi in box.streams():
            for _, raw, _ in box.raw_rows(stream, lo, hi):
                if raw.startswith(b'["tombstone"') and (told := loss_of(parse(raw))):
                    out[told.stream] = out.get(told.stream, Ranges()) | told.ranges
    return out
