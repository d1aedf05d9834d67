"""Two callables in; the CPU of each per unit of work and their ratio out, measured side by side in one run."""

import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Protocol

from msgspec import Struct

README = Path(__file__).with_name("README.md")


class Figure(Struct, frozen=True):
    """CPU per value [us] of ours and of the floor, medians; `ratio` is the median of the pairs' ratios."""

    name: str
    ours_us: float
    floor_us: float
    ratio: float
    floor: str


class Work(Protocol):
    """Something that has to be made ready before each call, untimed."""

    def prepare(self) -> None: ...
    def __call__(self) -> object: ...


def side_by_side(
    name: str, ours: Callable[[], object], floor: Callable[[], object], *, values: int, floor_is: str, rounds: int = 15
) -> Figure:
    """Runs both in turn, A B A B, each long enough to be timed (20 ms), and takes medians. `values`: handled in one call.

    What has a `prepare` is made ready before each single call.
    """
    calls = [_calls(ours), _calls(floor)]
    pairs = [(_cpu(ours, calls[0]), _cpu(floor, calls[1])) for _ in range(rounds)]
    scale = 1e6 / values
    return Figure(
        name,
        median(a for a, _ in pairs) * scale,
        median(b for _, b in pairs) * scale,
        median(a / b for a, b in pairs),
        floor_is,
    )


def _calls(work: Callable[[], object]) -> int:
    _cpu(work, 1)
    if hasattr(work, "prepare"):
        return 1
    once = max(_cpu(work, 1), 1e-6)
    return max(1, int(0.02 / once))


def _cpu(work: Callable[[], object], calls: int) -> float:
    """CPU seconds of one call, threads included."""
    if hasattr(work, "prepare"):
        work.prepare()
    begun = time.process_time()
    for _ in range(calls):
        work()
    return (time.process_time() - begun) / calls


def machine() -> str:
    """Where and when a figure was measured."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    cores = len([line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("processor")])
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return f"{model}, {cores} cores, {system}, Python {platform.python_version()}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"


def write(section: str, text: str) -> None:
    """Replaces one section of bench/README.md, kept between its markers, and prints it."""
    print(text)
    page = README.read_text("utf-8")
    begin, end = f"<!-- {section} -->", f"<!-- end {section} -->"
    before, rest = page.split(begin)
    README.write_text(f"{before}{begin}\n{text}\n{end}{rest.split(end)[1]}", "utf-8")
