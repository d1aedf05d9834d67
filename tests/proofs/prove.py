"""The long form of the four proofs: resumable, in parts, at most 100 minutes. A table out, also into docs/reliability.md.

`scripts/prove ledger` runs it. What a part found is kept (`--found`, by default one file for each commit under
~/.cache/harmattan/ledger) and not run again. `--share 0.1` runs a tenth of everything.
"""

import argparse
import json
import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.faults import power

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- ledger -->", "<!-- end ledger -->"
MINUTES = 100
RUNS, RUNS_A_CHUNK, STEPS = 100_000, 1000, 250
IMAGES, IMAGES_A_CHUNK = 10_000, 250
FAULTS, FAULTS_A_CHUNK = 200, 20
FIRST_SEED = 1_000_000
"""The short form's seeds are below."""

Found = dict[str, Any]


def explore(chunk: int) -> Found:
    """Random runs of the real design: how many, how many rows, which seeds violate an invariant."""
    from tests.proofs.model.world import World

    rows, violations = 0, []
    for seed in range(FIRST_SEED + chunk * RUNS_A_CHUNK, FIRST_SEED + (chunk + 1) * RUNS_A_CHUNK):
        world = World(seed)
        try:
            world.run(STEPS).heal()
            world.judge()
        except AssertionError as violation:
            violations.append([seed, str(violation)])
        rows += len(world.oracle)
    return {"runs": RUNS_A_CHUNK, "rows": rows, "bad": violations}


def catch(which: int) -> Found:
    """A broken design: what caught it."""
    from tests.proofs.model.mutants import MUTANTS, gone_wrong
    from tests.proofs.model.world import World

    mutant = MUTANTS[which]
    if mutant.schedule is not None:
        try:
            mutant.schedule(World(1, mutant.design))
        except AssertionError as violation:
            told = mutant.schedule.__name__.replace("_", " ")
            return {"name": mutant.name, "by": f"schedule: {told}", "says": str(violation), "bad": []}
        return {"name": mutant.name, "by": "nothing", "says": "", "bad": [mutant.name]}
    caught = sum(gone_wrong(mutant, seed, STEPS) for seed in range(1000))
    return {"name": mutant.name, "by": f"{caught} of 1,000 random runs", "says": "", "bad": [] if caught else [mutant.name]}


def cut(chunk: int) -> Found:
    """Disk images of two recordings of their own."""
    from tests.faults.images import judge, record

    cc = power.compiler()
    if cc is None:
        raise SystemExit("prove: a C compiler is missing; run scripts/setup prove")
    with TemporaryDirectory(prefix="harmattan-power-") as name:
        folder = Path(name)
        library = power.library(folder, cc)
        recordings = [
            record(folder, library, seed=2 * chunk, commits=150, quota_bytes=64 << 20),
            record(folder, library, seed=2 * chunk + 1, commits=150, quota_bytes=192 << 10),
        ]
        verdicts = [judge(recordings[i % 2], chunk * IMAGES_A_CHUNK + i) for i in range(IMAGES_A_CHUNK)]
    bad = [[chunk * IMAGES_A_CHUNK + i, str(v)] for i, v in enumerate(verdicts) if not v.good]
    honest = [v for v in verdicts if v.lies == 0]
    lost = sum(v.lost for v in honest)
    return {
        "images": len(verdicts), "honest": len(honest), "promised": sum(v.promised for v in honest), "lost": lost,
        "lied": sum(v.lost for v in verdicts if v.lies > 0), "bad": bad,
    }  # fmt: skip


def shake(chunk: int) -> Found:
    """Faults over real processes."""
    from tests.e2e.network import Network
    from tests.faults.field import Field
    from tests.faults.proxy import Proxy

    with TemporaryDirectory(prefix="harmattan-field-") as name:
        folder = Path(name)
        with Network(folder) as net, Proxy(net.mqtt_port, seed=chunk) as proxy:
            field = Field(net, proxy, folder)
            bad, rows = [], 0
            try:
                field.shake(FAULTS_A_CHUNK, seed=100 + chunk)
                rows = field.settle()
            except BaseException as error:  # noqa: BLE001  # pytest's failures too: the table tells of them
                bad = [[chunk, f"{type(error).__name__}: {error}"[:300]]]
    return {"faults": FAULTS_A_CHUNK, "rows": rows, "bad": bad}


def offline(which: int) -> Found:
    """30 days of one gateway at 80 values a minute; three days of 200 gateways."""
    from tests.faults.returns import come_back

    gateways, days, every_s, limit_s = ((1, 30.0, 6, 30), (200, 3.0, 60, 60))[which]
    with TemporaryDirectory(prefix="harmattan-return-") as name:
        back = come_back(Path(name), gateways=gateways, days=days, every_s=every_s, timeout_s=400)
    found = {key: getattr(back, key) for key in back.__struct_fields__}
    return found | {"bad": [] if back.good and back.newest_s <= limit_s else [str(back)]}


PARTS: dict[str, tuple[Callable[[int], Found], int, int]] = {
    "broken designs": (catch, 12, 2),
    "power cuts": (cut, IMAGES // IMAGES_A_CHUNK, 2),
    "returns": (offline, 2, 1),
    "processes": (shake, FAULTS // FAULTS_A_CHUNK, 1),
    "explorer": (explore, RUNS // RUNS_A_CHUNK, 2),
}
"""Name: the work, its chunks, how many at a time."""


class Results:
    """What was found so far, in one file; a line for each chunk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = path.read_text().splitlines() if path.exists() else []
        self.found: dict[tuple[str, int], Found] = {(e["part"], e["chunk"]): e for e in map(json.loads, lines)}

    def add(self, part: str, chunk: int, found: Found) -> None:
        entry = {"part": part, "chunk": chunk, "at": f"{datetime.now(UTC):%Y-%m-%d %H:%M}", "commit": commit(), **found}
        self.found[part, chunk] = entry
        with self.path.open("a") as file:
            file.write(json.dumps(entry) + "\n")

    def of(self, part: str) -> list[Found]:
        return [entry for (name, _), entry in sorted(self.found.items()) if name == part]


def run(results: Results, share: float, until_s: float) -> None:
    """Every part's missing chunks, until all are there or the time is up."""
    for part, (work, chunks, at_once) in PARTS.items():
        wanted = chunks if part in ("broken designs", "returns") else max(1, round(chunks * share))
        missing = [chunk for chunk in range(wanted) if (part, chunk) not in results.found]
        with ProcessPoolExecutor(at_once) as pool:
            for chunk, found in _in_time(pool, work, missing, until_s, at_once):
                results.add(part, chunk, found)
                print(
                    f"prove: {part} {chunk + 1} of {wanted}{'  BAD ' + str(found['bad']) if found['bad'] else ''}",
                    file=sys.stderr,
                )


def _in_time(
    pool: ProcessPoolExecutor, work: Callable[[int], Found], chunks: list[int], until_s: float, at_once: int
) -> Iterator[tuple[int, Found]]:
    for at in range(0, len(chunks), at_once):
        if time.time() > until_s:
            return
        some = chunks[at : at + at_once]
        yield from zip(some, pool.map(work, some), strict=True)


def table(results: Results) -> str:
    """What was run, as run."""
    times = sorted((entry["at"], entry["commit"]) for entry in results.found.values() if "at" in entry)
    (begun, first), (ended, last) = (times[0], times[-1]) if times else (("", ""), ("", ""))
    sums = {part: _sum(results.of(part)) for part in PARTS}
    e, p, f = sums["explorer"], sums["power cuts"], sums["processes"]
    lines = [
        f"Run from {begun} to {ended} UTC at commits {first} to {last}; {machine()}. The whole: {RUNS:,} runs,"
        f" {IMAGES:,} images, {FAULTS} faults; what was run is in the table.",
        "",
        "| proof | what was run | violations |",
        "|---|---|---|",
        f"| explorer | {e.get('runs', 0):,} random runs of {STEPS} steps, {e.get('rows', 0):,} rows | {e['bad']} |",
        f"| power cuts | {p.get('images', 0):,} disk images, {p.get('honest', 0):,} of an honest disk with"
        f" {p.get('promised', 0):,} promised rows: {p.get('lost', 0)} lost; {p.get('lied', 0):,} rows lost by disks that lied;"
        f" each opened alone | {p['bad']} |",
        f"| processes | {f.get('faults', 0):,} faults, {f.get('rows', 0):,} rows in the front, each once | {f['bad']} |",
    ]
    for back in results.of("returns"):
        did = f"{back['gateways']} gateways, {back['rows']:,} rows; newest rows of 99 % after {back['newest_s']:.1f} s"
        then = f"all after {back['all_s']:.0f} s; memory +{back['grown_kb'] / 1024:.1f} MiB; broker drops {back['broker_drops']}"
        lines.append(f"| return | {did}, {then} | {len(back['bad'])} |")
    lines += ["", "| broken design | caught by | as |", "|---|---|---|"]
    lines += [f"| {m['name']} | {m['by']} | {m['says']} |" for m in results.of("broken designs")]
    return "\n".join(lines)


def _sum(entries: list[Found]) -> Found:
    total: Found = {"bad": 0}
    for entry in entries:
        for key, value in entry.items():
            if key == "bad":
                total["bad"] += len(value)
            elif isinstance(value, int) and key != "chunk":
                total[key] = total.get(key, 0) + value
    return total


def commit() -> str:
    asked = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return asked.stdout.strip() or "unknown"


def machine() -> str:
    cores = os.cpu_count()
    system = platform.freedesktop_os_release()["PRETTY_NAME"]
    return f"{platform.machine()}, {cores} cores, {system}, Python {platform.python_version()}"


def write(text: str) -> None:
    """Replaces the table in the page, kept between its markers."""
    page = PAGE.read_text("utf-8")
    before, rest = page.split(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", "utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="of the explorer's runs, images and faults")
    parser.add_argument("--found", type=Path, help="file of what was found so far")
    parser.add_argument("--minutes", type=float, default=MINUTES)
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)  # broken disks by the thousand
    kept = Path.home() / ".cache" / "harmattan" / "ledger" / f"{commit()}.ndjson"
    results = Results(chosen.found or kept)
    run(results, chosen.share, time.time() + 60 * chosen.minutes)
    text = table(results)
    print(text)
    write(text)
    return 1 if any(entry["bad"] for entry in results.found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
