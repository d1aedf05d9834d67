"""docs/wire.md shows one message by hand; this reads it as its readers do."""

import re
import zlib
from pathlib import Path

from readings.batch import HEADER_BYTES, decode, encode, read_header
from readings.row import canonical, parse

PAGE = (Path(__file__).parents[2] / "docs/wire.md").read_text("utf-8")


def block(kind: str) -> str:
    found = re.search(rf"```{kind}\n(.*?)```", PAGE, re.S)
    assert found, kind
    return found[1]


def test_the_bytes_of_the_page_mean_the_rows_of_the_page() -> None:
    message = bytes.fromhex(block("hex"))
    header = read_header(message)
    assert (header.stream, header.lo, header.n) == ("0000000000000abc", 2, 3)
    assert zlib.decompress(message[HEADER_BYTES:]).decode() == block("json").strip()
    rows = decode(message)
    assert [canonical(row).decode() for row in rows] == block("rows").strip().splitlines()
    assert decode(encode(header.stream, header.lo, rows)) == [parse(line.encode()) for line in block("rows").strip().splitlines()]
