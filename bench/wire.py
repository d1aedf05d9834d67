"""A synthetic day in; bytes per value on the wire at 10 and 80 samples a batch out."""

import random
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.measure import machine, write
from readings.batch import encode
from readings.row import Row

STREAM = "0123456789abcdef"
CHANNELS = 8


def sensor(seed: int) -> Callable[[int], list[int]]:
    """Eight channels as a particle counter has them: slow drift and noise, whole ug/m3 and counts."""
    chance = random.Random(seed)
    level = [8.0, 15.0, 22.0, 15.0, 22.0, 760.0, 250.0, 30.0]

    def sample(_: int) -> list[int]:
        for i, value in enumerate(level):
            level[i] = max(0.0, value + chance.gauss(0, 0.05 * value + 0.3))
        return [int(v) for v in level]

    return sample


def rows(samples: int, every_s: int) -> list[Row]:
    source, chance = sensor(1), random.Random(2)
    out = []
    for i in range(samples):
        mono = 5_000 + i * every_s * 1000 + chance.randrange(40)
        out.append(Row("sample", "pm", 2, "b", mono * 1_000_000, 1_763_935_200_000 + mono, "synced", source(i), [1] * CHANNELS))
    return out


def main() -> None:
    lines = ["| samples a batch | bytes a message | bytes a value |", "|---|---|---|"]
    for samples in (10, 80, 800):
        sizes = [len(encode(STREAM, 1, part)) for part in _parts(rows(samples * 20, 60), samples)]
        mean = sum(sizes) / len(sizes)
        lines.append(f"| {samples} | {mean:.0f} | {mean / samples / CHANNELS:.2f} |")
    text = "\n".join([*lines, "", f"Noise of 5 % in each value; zlib {zlib.ZLIB_RUNTIME_VERSION}. {machine()}"])
    write("wire", text) if "--write" in sys.argv else print(text)


def _parts(all_rows: list[Row], size: int) -> list[list[Row]]:
    return [all_rows[i : i + size] for i in range(0, len(all_rows), size)]


if __name__ == "__main__":
    main()
