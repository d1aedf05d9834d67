"""The whole suite in; the same suite on SQLite + memory and on PostgreSQL + Redis out, as one table in docs/proofs/shapes.md.

`scripts/prove shapes` runs all; pytest's arguments narrow it. A shape whose run was ended is run anew; one that is there is kept,
for this commit and these arguments, until --again.
"""

import argparse
import os
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree  # of a file that our own pytest wrote
from zlib import crc32

from tests.proofs.prove import ROOT, Found, Results, commit, machine
from tests.shape import SHAPES

TOLD = {"embedded": "SQLite, limits in memory", "servers": "PostgreSQL and Redis of this machine's Debian"}
PAGE = ROOT / "docs" / "proofs" / "shapes.md"


def run(shape: str, arguments: list[str], folder: Path) -> Found:
    """One run of pytest in this shape: what passed, failed and was skipped, and why."""
    report = folder / f"{shape}.xml"
    report.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", f"--junitxml={report}", "-o", "junit_logging=no", *arguments]
    begun = time.monotonic()
    subprocess.run(command, cwd=ROOT, env={**os.environ, "HARMATTAN_TEST_SHAPE": shape}, check=False)
    return read(report) | {"seconds": round(time.monotonic() - begun), "arguments": arguments}


def read(report: Path) -> Found:
    """pytest's own report."""
    cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314
    skipped: Counter[str] = Counter()
    bad = []
    for case in cases:
        if (skip := case.find("skipped")) is not None:
            skipped[skip.get("message", "")] += 1
        if case.find("failure") is not None or case.find("error") is not None:
            bad.append(f"{case.get('classname')}::{case.get('name')}")
    return {"passed": len(cases) - sum(skipped.values()) - len(bad), "skipped": dict(sorted(skipped.items())), "bad": bad}


def table(results: Results) -> str:
    """What was run, as run."""
    lines = [
        f"{machine()}.",
        "",
        "| shape | stands on | passed | skipped | failed | seconds | run |",
        "|---|---|---|---|---|---|---|",
    ]
    for number, shape in enumerate(SHAPES):
        found = results.found["shape", number]
        what = " ".join(found["arguments"]) or "everything"
        skips = sum(found["skipped"].values())
        row = (shape, TOLD[shape], found["passed"], skips, len(found["bad"]), found["seconds"])
        lines.append(f"| {' | '.join(map(str, row))} | {what}, {found['at']} UTC at {found['commit']} |")
    lines += ["", "| skipped in | tests | because |", "|---|---|---|"]
    for number, shape in enumerate(SHAPES):
        lines += [f"| {shape} | {times} | {why} |" for why, times in results.found["shape", number]["skipped"].items()]
    for number, shape in enumerate(SHAPES):
        lines += [f"- failed in {shape}: `{name}`" for name in results.found["shape", number]["bad"]]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", action="store_true", help="also what was run before at this commit")
    chosen, arguments = parser.parse_known_args()
    kept = (
        Path.home() / ".cache" / "harmattan" / "shapes" / f"{commit()}-{crc32(repr(arguments).encode()) if arguments else 'all'}"
    )
    kept.mkdir(parents=True, exist_ok=True)
    if chosen.again:
        (kept / "found.ndjson").unlink(missing_ok=True)
    results = Results(kept / "found.ndjson")
    for number, shape in enumerate(SHAPES):
        if ("shape", number) not in results.found:
            print(f"prove: {shape}, {datetime.now(UTC):%H:%M} UTC", file=sys.stderr)
            results.add("shape", number, run(shape, arguments, kept))
    text = table(results)
    print(text)
    PAGE.write_text(f"# One suite, two shapes\n\nWritten by `scripts/prove shapes`: the same tests on both.\n{text}\n")
    return 1 if any(entry["bad"] for entry in results.found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
