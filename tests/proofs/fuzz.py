"""Bytes that nobody meant in; nothing but readings, faults and named mistakes out. Every grammar, its framing, the YAML loader.

`scripts/prove fuzz [--seconds 60]` runs each target under atheris, which looks for new paths; tests/adapters/test_fuzz.py runs
them under hypothesis at all times. A target fails by any exception but the declared ones, by a hang (5 s) and by memory (512 MB).
"""

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from adapters.catalogue import Catalogue
from adapters.decode import Fault, Reading, decoder
from adapters.decode.modbus import expected_of
from adapters.decode.registers import RegisterDecoder
from adapters.document import Mistakes
from adapters.profile import FrameWire, JsonWire, LinesWire, Profile, RegisterWire, parse
from adapters.transport.replay import bytes_of

ROOT = Path(__file__).resolve().parents[2]
CATALOGUE = Catalogue.load()
PROFILES = [CATALOGUE.get(profile_id) for profile_id in CATALOGUE.ids()]
MOST_OPEN = 1 << 16


def _of(kind: type) -> list[Profile]:
    return [profile for profile in PROFILES if isinstance(profile.wire, kind)]


def _stream(kind: type) -> Callable[[bytes], None]:
    """The first byte picks the device, the second into what pieces the others are cut."""
    profiles = _of(kind)
    readers = [decoder(profile) for profile in profiles]

    def target(data: bytes) -> None:
        if len(data) < 2:
            return
        reader, size, rest = readers[data[0] % len(readers)], 1 + data[1] % 64, data[2:]
        reader.reset()
        results = [result for at in range(0, len(rest), size) for result in reader.feed(rest[at : at + size])]
        assert len(getattr(reader, "_open", b"")) <= MOST_OPEN
        for result in [*results, *reader.finish()]:
            assert isinstance(result, (Reading, Fault))
            if isinstance(result, Reading):
                assert len(result.scaled) == len(result.flags) == len(result.plan.channels)

    return target


def _registers() -> Callable[[bytes], None]:
    """The first byte picks the device, eight more are the request."""
    readers = [RegisterDecoder(profile) for profile in _of(RegisterWire)]

    def target(data: bytes) -> None:
        reader = readers[data[0] % len(readers)] if data else readers[0]
        reader.reset()
        reader.expected = expected_of(data[1:9], any_unit=len(data) % 2 == 0)
        for result in [*reader.feed(data[9:]), *reader.finish()]:
            assert isinstance(result, (Reading, Fault))

    return target


def _json() -> Callable[[bytes], None]:
    """The first byte picks the device, the others are its answer."""
    readers = [decoder(profile) for profile in _of(JsonWire)]

    def target(data: bytes) -> None:
        for result in readers[data[0] % len(readers)].feed(data[1:]) if data else ():
            assert isinstance(result, (Reading, Fault))

    return target


def _profile(data: bytes) -> None:
    try:
        parse(data, Path("acme/dust.yaml"))
    except Mistakes:
        return


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "frame": _stream(FrameWire),
    "lines": _stream(LinesWire),
    "registers": _registers(),
    "jsonpath": _json(),
    "profile": _profile,
}


def seeds(name: str) -> list[bytes]:
    """Good inputs to begin from: the captures, the profiles."""
    if name == "profile":
        return [CATALOGUE.path(profile.id).read_bytes() for profile in PROFILES]
    kinds = {"frame": FrameWire, "lines": LinesWire, "registers": RegisterWire, "jsonpath": JsonWire}
    found: list[bytes] = []
    for number, profile in enumerate(_of(kinds[name])):
        for vector in json.loads(CATALOGUE.path(profile.id).with_suffix(".capture.json").read_bytes())["vectors"][:8]:
            head = bytes((number,)) + {"frame": b"\x3f", "lines": b"\x3f", "jsonpath": b""}.get(name, b"")
            asked = bytes_of(vector.get("request") or {"text": ""}, vector)[:8].ljust(8, b"\0") if name == "registers" else b""
            found.append(head + asked + bytes_of(vector["raw"], vector))
    return found


def run(name: str, seconds: int) -> tuple[str, int, str]:
    """A row: verdict, inputs tried, the last thing said."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.proofs.fuzz_child", name, str(seconds), folder]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=seconds + 300, check=False)
        tried = re.search(r"number_of_executed_units: (\d+)", done.stderr)
        paths = re.findall(r"cov: (\d+)", done.stderr)
        said = f"{paths[-1]} places of the code reached" if paths else ""
        if done.returncode:
            said = next((line for line in done.stderr.splitlines()[::-1] if "Error" in line or "ERROR" in line), "see stderr")
            sys.stderr.write(done.stderr[-4000:])
    return ("ok" if done.returncode == 0 else "FAILED", int(tried[1]) if tried else 0, said)


def main() -> int:
    options = argparse.ArgumentParser()
    options.add_argument("--seconds", type=int, default=60)
    given = options.parse_args()
    rows = [(name, *run(name, given.seconds)) for name in TARGETS]
    table = ["| target | result | inputs tried | |", "|---|---|---|---|"]
    table += [f"| {name} | {verdict} | {tried:,} | {said} |" for name, verdict, tried, said in rows]
    print("\n".join(table))
    page = ROOT / "docs" / "proofs" / "fuzz.md"
    day = time.strftime("%Y-%m-%d", time.gmtime())
    head = f"# Bytes that nobody meant\n\nWritten by `scripts/prove fuzz --seconds {given.seconds}` on {day}."
    said = "Each target begins from the catalogue's captures and profiles. It fails by an undeclared exception, 5 s, or 512 MB."
    page.write_text(f"{head}\n{said}\n\n" + "\n".join(table) + "\n")
    return 0 if all(verdict == "ok" for _, verdict, _, _ in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
