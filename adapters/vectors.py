"""Golden vectors in; how many passed, and why the others failed, out. A vector is raw bytes and the values that they mean.

Schema `aq-golden-vectors/1`: each vector names its `device`, the id of the profile that is under test.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct

from adapters.catalogue import Catalogue
from adapters.decode import Fault, Reading, Result, decoder
from adapters.decode.registers import RegisterDecoder
from adapters.decode.tails import SEALS
from adapters.decode.times import moment_of
from adapters.profile import Profile, RegisterWire
from adapters.transport.replay import SCHEMA, recorded
from readings.errors import Drop, Stop
from readings.units import spelled

TOLERANCE = 1e-6
Algorithm = Callable[[bytes], bytes]
ALGORITHMS: Mapping[str, Algorithm] = {"algo.vaisala-crc3": SEALS["vaisala_crc3"]}
"""Devices that are none: a checksum by its name."""


class Report(Struct, frozen=True):
    """`failures`: (the vector's id or the file, why)."""

    passed: int
    failures: list[tuple[str, str]]

    @property
    def failed(self) -> int:
        return len(self.failures)


def check(path: Path, catalogue: Catalogue) -> Report:
    """Every vector of a file, or of all *.json files under a folder. What cannot be read is a failure with a name."""
    files = sorted(path.rglob("*.json")) if path.is_dir() else [path]
    if not files:
        return Report(0, [(str(path), "no *.json file in this folder")])
    passed = 0
    failures: list[tuple[str, str]] = []
    for file in files:
        try:
            vectors = read(file)
        except Drop as drop:
            failures.append((str(file), drop.why))
            continue
        for vector in vectors:
            why = judge(vector, catalogue)
            if why:
                failures.append((str(vector.get("id", file)), why))
            else:
                passed += 1
    return Report(passed, failures)


def read(file: Path) -> list[dict[str, Any]]:
    """The vectors of one file. Raises Drop."""
    try:
        held = json.loads(file.read_bytes())
    except OSError as error:
        raise Drop(error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise Drop(f"not JSON: {error}") from error
    if not isinstance(held, dict) or held.get("schema") != SCHEMA:
        raise Drop(f'no vectors: "schema" is not "{SCHEMA}"')
    vectors = held.get("vectors")
    if not isinstance(vectors, list) or not vectors or not all(isinstance(vector, dict) for vector in vectors):
        raise Drop('"vectors" is no list of objects, or is empty')
    return vectors


def judge(vector: Mapping[str, Any], catalogue: Catalogue) -> str:
    """Why a vector does not hold; '' when it does."""
    device = str(vector.get("device"))
    if device in ALGORITHMS:
        return _compared(vector, ALGORITHMS[device])
    try:
        profile = catalogue.chosen(device, options_of(vector))
        results = decoded(profile, dict(vector))
    except Stop as stop:
        return str(stop)
    return _compare(vector, results, profile)


def _compared(vector: Mapping[str, Any], algorithm: Algorithm) -> str:
    """A vector of a checksum alone: its bytes, and what stands behind them."""
    try:
        got = algorithm(recorded(dict(vector)).raw).decode("latin-1")
        want = vector["expect"]["crc"]["value"]
    except Stop as stop:
        return str(stop)
    except (KeyError, TypeError):
        return "`expect` says no crc"
    return "" if got == want else f"crc is {got}, expected {want}"


def options_of(vector: Mapping[str, Any]) -> dict[str, object]:
    """What a vector says of its device beside its bytes: firmware, settings, quirks (`quirk.response_crc_order`)."""
    options: dict[str, object] = {}
    for key, value in vector.items():
        if isinstance(value, (str, int, float)):
            options[key] = value
        elif key == "quirk" and isinstance(value, dict):
            options.update({f"quirk.{name}": said for name, said in value.items()})
    return options


def decoded(profile: Profile, vector: dict[str, Any]) -> list[Result]:
    """What the profile's decoder makes of a vector's bytes. Raises Stop for a vector that is none."""
    one = recorded(vector)
    heard = decoder(profile)
    if isinstance(profile.wire, RegisterWire):
        quirk = vector.get("quirk")
        order = quirk.get("response_crc_order") if isinstance(quirk, dict) else None
        heard = RegisterDecoder(profile, one.expected, crc_order="big" if order == "big" else "little")
    results = [*heard.feed(one.raw), *heard.finish()]
    if not results and heard.skipped:
        return [Fault("bad_header", f"{heard.skipped} bytes without a frame")]
    if vector.get("first_after_start"):
        return without_first(results, profile.discard_first)
    return results


def without_first(results: Sequence[Result], count: int) -> list[Result]:
    """The first readings after a start are none yet."""
    kept: list[Result] = []
    for result in results:
        if count and isinstance(result, Reading):
            kept.append(Fault("warming_up", "the first after a start"))
            count -= 1
        else:
            kept.append(result)
    return kept


def _compare(vector: Mapping[str, Any], results: Sequence[Result], profile: Profile) -> str:
    readings = [result for result in results if isinstance(result, Reading)]
    codes = [result.code for result in results if isinstance(result, Fault)]
    expect = vector.get("expect")
    wanted = expect if isinstance(expect, list) else [expect] if expect else []
    if len(readings) != len(wanted):
        said = f" ({', '.join(codes)})" if codes else ""
        return f"{len(readings)} readings{said}, expected {len(wanted)}"
    error = vector.get("expect_error")
    if error and error not in codes:
        return f"error {error} expected, got {', '.join(codes) or 'none'}"
    tolerance = vector.get("tolerance") if isinstance(vector.get("tolerance"), dict) else {}
    for number, (reading, expected) in enumerate(zip(readings, wanted, strict=True), 1):
        for why in _differences(reading, expected, tolerance or {}, profile):
            return why if len(wanted) == 1 else f"reading {number}: {why}"
    return ""


def _differences(reading: Reading, expected: Any, tolerance: Mapping[str, float], profile: Profile) -> Iterator[str]:
    if not isinstance(expected, dict):
        yield "`expect` is no object"
        return
    values: dict[str, Any] = {**reading.texts, **reading.values}
    units = {channel.parameter: channel.unit for channel in reading.plan.channels}
    for name, want in expected.items():
        if not isinstance(want, dict) or "value" not in want:
            yield f"{name}: no value to compare with"
        elif name not in values:
            yield f"{name} is not in the reading"
        elif (
            name in units
            and want["value"] is not None
            and not _same_unit(name, want.get("unit", units[name]), units[name], profile)
        ):
            yield f"{name} is in {units[name]}, expected {want['unit']}"
        elif not _same(values[name], want["value"], tolerance):
            yield f"{name} is {values[name]}, expected {want['value']}"


def _same_unit(name: str, said: Any, unit: str, profile: Profile) -> bool:
    """A vector names a unit by the house's word for it, by another spelling, or as the device writes it."""
    return unit in (spelled(str(said)), spelled(profile.every[name].units.get(str(said), "-")))


def _same(got: Any, want: Any, tolerance: Mapping[str, float]) -> bool:
    if isinstance(got, float) and isinstance(want, (int, float)) and not isinstance(want, bool):
        return abs(got - want) <= tolerance.get("abs", TOLERANCE) + tolerance.get("rel", TOLERANCE) * abs(want)
    if isinstance(got, str) and isinstance(want, (int, str)) and not isinstance(want, bool):
        return got == str(want) or _same_time(got, str(want))
    return bool(got == want)


def _same_time(got: str, want: str) -> bool:
    """One point in time has several spellings: 12:00:00Z is 12:00:00.000+00:00."""
    one, other = moment_of(got), moment_of(want)
    return one is not None and other is not None and (one.tzinfo is None) is (other.tzinfo is None) and one == other
