"""Rows of 120 bytes, 60 a commit, into a real outbox on a real disk; bytes written to the card per row out.

The bytes of each write to the outbox's files (strace), beside what the kernel counts for the process (`write_bytes` in
/proc/self/io): that counts whole pages of 4 KiB.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.measure import machine, write
from edge.outbox import Outbox
from readings.row import canonical, sample_row
from readings.sample import Channel, Moment, Sample, Schema

ROWS, A_COMMIT = 30_000, 60
GOAL_KB = 0.5
SCHEMA = Schema("pm", "plantower.pms5003", "00" * 32, "", tuple(Channel("pm2_5", "ug/m3", 0) for _ in range(4)))


def sample(n: int) -> Sample:
    at = Moment("0b1c2d3e-0000-4000-8000-000000000001", n * 1_000_000_000, 1_764_000_000_000 + n * 1000, "synced")
    return Sample("pm", at, (n % 900 + 100, n % 90 + 10, 760, 41), (1, 1, 1, 1))


def fill(folder: Path, rows: int, a_commit: int) -> None:
    with Outbox.open(folder / "outbox.db", quota_bytes=2 << 30) as box:
        box.begin("0.1.0", {}, sample(0).at, [SCHEMA])
        for n in range(1, rows + 1):
            box.put(sample(n))
            if n % a_commit == 0:
                box.commit()


def by_strace(folder: Path, rows: int, a_commit: int) -> float:
    """Bytes of all writes to the outbox's files, per row."""
    trace = folder / "trace"
    command = [sys.executable, __file__, "--fill", str(folder), str(rows), str(a_commit)]
    subprocess.run(["strace", "-f", "-y", "-e", "trace=pwrite64,write", "-o", str(trace), *command], check=True)
    done = re.compile(r"write(?:64)?\(\d+<[^>]*/outbox\.db[^>]*>.* = (\d+)$")
    total = sum(int(found[1]) for line in trace.read_text().splitlines() if (found := done.search(line)))
    return total / rows


def by_kernel(folder: Path, rows: int, a_commit: int) -> float | None:
    """The process's write_bytes per row; None where the file system does not count them."""
    before = _written()
    fill(folder, rows, a_commit)
    os.sync()
    return (_written() - before) / rows or None


def _written() -> int:
    return int(re.search(r"^write_bytes: (\d+)", Path("/proc/self/io").read_text(), re.MULTILINE)[1])  # type: ignore[index]


def main() -> None:
    if "--fill" in sys.argv:
        fill(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
        return
    size = len(canonical(sample_row(sample(15_000), 2)))
    lines = ["| rows a commit | bytes of writes a row | bytes that the kernel counts a row |", "|---|---|---|"]
    for a_commit, rows in ((1, 600), (10, 6_000), (A_COMMIT, ROWS)):
        folder = Path(tempfile.mkdtemp(dir=Path(__file__).parent))
        try:
            counted = by_kernel(folder, rows, a_commit)
            for part in folder.iterdir():
                part.unlink()
            lines.append(
                f"| {a_commit} | {by_strace(folder, rows, a_commit):.0f} | {'-' if counted is None else f'{counted:.0f}'} |"
            )
        finally:
            shutil.rmtree(folder)
    text = "\n".join([*lines, "", f"Rows of {size} bytes, {ROWS:,} of them at {A_COMMIT} a commit. {machine()}"])
    write("card", text) if "--write" in sys.argv else print(text)


if __name__ == "__main__":
    main()
