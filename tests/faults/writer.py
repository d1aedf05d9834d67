"""An outbox's folder, a seed and a number of commits in; rows on the card out, and a promise on the record for each commit.

Run as a process under the journal: `python -m tests.faults.writer FOLDER SEED COMMITS QUOTA [ROWS]`. `promises` holds the rows of
each commit that returned, with their checksums: what the card has promised to keep.
"""

import logging
import os
import sys
from pathlib import Path
from random import Random

from edge.eviction import May
from edge.outbox import Event, Outbox
from readings.sample import Channel, Moment, Sample, Schema

CHANNELS = 4
"""A row of four values has about 120 bytes."""
PM = Schema("pm", "plantower.pms5003", "ab" * 32, "", tuple(Channel(f"pm{i}", "ug/m3", -1) for i in range(CHANNELS)))


def moment(n: int) -> Moment:
    return Moment("0b1c2d3e-0000-4000-8000-000000000001", n * 1_000_000_000, 1_764_000_000_000 + n * 1000, "unsynced")


def write(folder: Path, seed: int, commits: int, quota_bytes: int, rows: int | None = None) -> None:
    """Some lives of a daemon. `rows`: so many samples a commit and nothing else, in one life."""
    chance, n = Random(seed), 0
    promises = os.open(folder / "promises", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    while commits > 0:
        box = Outbox.open(folder / "outbox.db", quota_bytes=quota_bytes)
        box.may_leave = lambda: May(drop=True)
        box.begin("0.1.0", {"name": "gate"}, moment(n), [PM])
        for _ in range(min(commits, chance.randrange(20, 120)) if rows is None else commits):
            commits -= 1
            for _ in range(rows or chance.choice((1, 1, 5, 60))):
                n += 1
                box.put(Sample("pm", moment(n), tuple(chance.randrange(1000) for _ in range(CHANNELS)), (1,) * CHANNELS))
            if rows is None and chance.random() < 0.1:
                box.put(Event("sensor_state", moment(n), {"state": "ok", "why": "x" * chance.randrange(3000)}, "pm"))
            if done := box.commit():
                kept = box.raw_rows(done.stream, done.lo, done.hi)
                os.write(promises, "".join(f"{done.stream} {seq} {crc}\n" for seq, _, crc in kept).encode())
        box.close()


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)  # a small quota gives up rows all the time
    write(Path(sys.argv[1]), *map(int, sys.argv[2:]))
