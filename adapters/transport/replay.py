"""A capture instead of hardware: each poll gets the next answer that a file holds, round and round.

The file is a capture of firmware-profiles or any file of golden vectors (`aq-golden-vectors/1`).
"""

import json
from pathlib import Path
from typing import Any

from msgspec import Struct

from adapters.decode.modbus import Expected, expected_of
from adapters.transport.base import Chunk, Unplugged, boottime_ns
from readings.errors import Stop

SCHEMA = "aq-golden-vectors/1"


class Recorded(Struct, frozen=True):
    """One answer as it was captured, and for Modbus what had been asked."""

    raw: bytes
    expected: Expected = Expected()


class Replay:
    """Answers that a device once gave, for ever. Those that were captured to show an error are left out."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._answers: list[Recorded] = []
        self._next = 0

    def open(self) -> None:
        """Raises Unplugged when the file cannot be read, Stop when it holds nothing to play."""
        if self._answers:
            return
        try:
            held = json.loads(self.path.read_bytes())
        except OSError as error:
            raise Unplugged(error.strerror or str(error), what=str(self.path), hint="name a *.capture.json") from error
        except (ValueError, RecursionError) as error:
            raise Stop(f"not JSON: {error}", what=str(self.path), hint="name a *.capture.json") from error
        vectors = held.get("vectors") if isinstance(held, dict) else None
        if not isinstance(vectors, list):
            raise Stop("holds no vectors", what=str(self.path), hint=f'a capture has "schema": "{SCHEMA}" and "vectors": [...]')
        self._answers = [recorded(vector) for vector in vectors if isinstance(vector, dict) and vector.get("expect")]
        if not self._answers:
            raise Stop("holds no answer that means a reading", what=str(self.path), hint="name a *.capture.json of this device")

    def close(self) -> None:
        return None

    def answer(self) -> tuple[Recorded, Chunk]:
        one = self._answers[self._next % len(self._answers)]
        self._next += 1
        return one, Chunk(one.raw, boottime_ns())


def recorded(vector: dict[str, Any]) -> Recorded:
    """The bytes of one vector. Raises Stop naming what is wrong with it."""
    asked = bytes_of(vector.get("request") or {"text": ""}, vector)
    expected = expected_of(asked, any_unit=bool(vector.get("any_address"))) if asked else Expected()
    return Recorded(bytes_of(vector.get("raw"), vector), expected)


def bytes_of(raw: Any, vector: dict[str, Any]) -> bytes:
    what = f"vector {vector.get('id', '?')}"
    if not isinstance(raw, dict) or len(raw) != 1 or not raw.keys() & {"hex", "text", "json"}:
        raise Stop("its `raw` is not exactly one of hex, text, json", what=what)
    kind, value = next(iter(raw.items()))
    if kind == "json":
        return json.dumps(value).encode()
    if not isinstance(value, str):
        raise Stop(f"its {kind} is no text", what=what)
    try:
        return bytes.fromhex(value) if kind == "hex" else value.encode()
    except ValueError as error:
        raise Stop(f"its hex is none: {error}", what=what) from error
