"""Rows to bytes and back: a bijection, whatever the rows hold, and a refusal for everything else."""

import zlib
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from readings.batch import HEADER_BYTES, BadBatch, UndecodableBody, UnknownVersion, decode, encode, read_header, seal_header
from readings.row import Row, canonical, parse

STREAM = "0123456789abcdef"

scaled = st.none() | st.integers(-(2**53) + 1, 2**53 - 1)
flag_lists = st.lists(st.sampled_from([1, 2, 3, 4, 9]), min_size=3, max_size=3)
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    sample = draw(st.booleans())
    tidy = draw(st.booleans())
    values: Any = draw(st.lists(scaled, min_size=3, max_size=3)) if sample and tidy else draw(anything)
    flags: Any = draw(flag_lists) if sample and tidy else draw(st.none() | anything)
    mono = draw(st.none() | st.integers(0, 2**62) | st.integers(0, 2**40).map(lambda ms: ms * 1_000_000))
    return Row(
        "sample" if sample else draw(st.sampled_from(["schema", "event", "anchor", "tombstone"])),
        draw(st.none() | st.sampled_from(["pm", "meter"])),
        draw(st.none() | st.integers(1, 9)),
        draw(st.sampled_from(["b1", "b2"])),
        mono,
        draw(st.integers(0, 2**44)),
        draw(st.sampled_from(["synced", "holdover", "unsynced"])),
        values,
        flags,
    )


@settings(max_examples=300)
@given(st.lists(rows(), min_size=1, max_size=30), st.integers(1, 2**31))
def test_rows_come_back_byte_for_byte(given_rows: list[Row], lo: int) -> None:
    committed = [parse(msgspec.json.encode(r)) for r in given_rows]
    back = decode(encode(STREAM, lo, committed))
    assert [canonical_or_long(r) for r in back] == [canonical_or_long(r) for r in committed]


def canonical_or_long(row: Row) -> bytes:
    return msgspec.json.encode(row)


def sample(i: int, values: list[int | None] | None = None) -> Row:
    flags = [1, 1] if values is None else [1] * len(values)
    return Row("sample", "pm", 2, "b", (1000 + i) * 1_000_000, 1_700_000_000_000 + i, "synced", values or [i, 2 * i], flags)


def test_a_header_says_what_the_message_holds() -> None:
    header = read_header(encode(STREAM, 7, [sample(1), sample(2)]))
    assert (header.stream, header.lo, header.n, header.hi) == (STREAM, 7, 2, 8)


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_flipped_bit_is_refused(place: int, bit: int) -> None:
    message = bytearray(encode(STREAM, 1, [sample(i) for i in range(20)]))
    message[place % len(message)] ^= 1 << bit
    with pytest.raises(BadBatch):
        decode(bytes(message))


@given(st.binary(max_size=200))
def test_bytes_from_anywhere_are_refused_and_nothing_else_happens(junk: bytes) -> None:
    with pytest.raises(BadBatch):
        decode(junk)


@given(st.binary(max_size=200) | anything.map(msgspec.json.encode))
def test_a_body_that_is_no_batch_is_undecodable(plain: bytes) -> None:
    with pytest.raises(UndecodableBody):
        decode(seal_header(STREAM, 1, 1, zlib.compress(plain)))


def test_a_bomb_is_refused_before_it_unfolds() -> None:
    bomb = zlib.compress(bytes(64 << 20))
    with pytest.raises(UndecodableBody, match="inflates to more than"):
        decode(seal_header(STREAM, 1, 1, bomb))


@pytest.mark.parametrize(("version", "encoding"), [(2, 1), (1, 2)])
def test_a_later_version_is_told_from_damage(version: int, encoding: int) -> None:
    with pytest.raises(UnknownVersion):
        read_header(seal_header(STREAM, 1, 1, b"later", version=version, encoding=encoding))


@pytest.mark.parametrize(("lo", "n"), [(0, 1), (1, 0), (1, 16385), (0xFFFFFFFF, 2)])
def test_numbers_out_of_bounds_are_refused(lo: int, n: int) -> None:
    with pytest.raises(BadBatch, match="out of bounds"):
        read_header(seal_header(STREAM, lo, n, b""))


@pytest.mark.parametrize("order", ["[0,5]", "[0,-1]", "[0]"])
def test_a_row_of_no_shape_is_undecodable(order: str) -> None:
    body = '[[["sample","pm",2,"b","synced"]],%s,[[0,[null,null],[0,0],1,[[1,1]],[[[1],2]]]]]' % order  # noqa: UP031
    with pytest.raises(UndecodableBody):
        decode(seal_header(STREAM, 1, 2, zlib.compress(body.encode())))


def test_eighty_samples_of_eight_values_stay_small() -> None:
    message = encode(STREAM, 1, [sample(i * 60_000, [120 + i % 7, None if i % 9 == 0 else i, *range(6)]) for i in range(80)])
    assert len(message) < 80 * 8 * 2
    assert len(message) > HEADER_BYTES


def test_a_row_over_four_kilobytes_is_refused() -> None:
    with pytest.raises(Exception, match="is over 4096"):
        canonical(Row("event", None, None, "b", 0, 0, "synced", {"x": "y" * 5000}, None))
