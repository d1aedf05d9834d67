"""Grammar registers: RTU and TCP answers, whatever a bus does to them; values that never tear."""

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.catalogue import Catalogue
from adapters.decode import Fault, Reading
from adapters.decode.checksums import crc16_modbus
from adapters.decode.modbus import Answers, Block, Expected, expected_of, register
from adapters.decode.registers import RegisterDecoder, encoder
from adapters.profile import Order, parse

PROFILE = Catalogue.load().get("eastron.sdm230")
REQUEST = bytes.fromhex("01040000000271cb")
ANSWER = bytes.fromhex("010404436633341b38")
"""230.2 V. SDM230 protocol document, example (datasheet)."""


def read_answer(raw: bytes, expected: Expected, crc_order: Order = "little") -> Block | Fault:
    """The last thing that these bytes mean."""
    answers = Answers(expected, crc_order)
    return ([*answers.feed(raw), *answers.finish()] or [Fault("truncated")])[-1]


def code_of(raw: bytes, request: bytes = REQUEST) -> str:
    answer = read_answer(raw, expected_of(request))
    return answer.code if isinstance(answer, Fault) else ""


def rtu(*body: int) -> bytes:
    data = bytes(body)
    return data + crc16_modbus(data).to_bytes(2, "little")


def test_an_answer_gives_the_words_at_the_requests_address() -> None:
    assert read_answer(ANSWER, expected_of(REQUEST)) == Block(4, 0, (0x4366, 0x3334))


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (ANSWER[:-1], "truncated"),
        (b"", "truncated"),
        (ANSWER[:-1] + b"\x00", "bad_checksum"),
        (rtu(2, 4, 4, 0, 0, 0, 0), "wrong_slave"),
        (rtu(1, 3, 4, 0, 0, 0, 0), "wrong_function"),
        (rtu(1, 4, 2, 0, 0), "bad_length"),
        (rtu(1, 0x84, 2), "modbus_exception:2"),
        (REQUEST, "echo"),
    ],
)
def test_each_fault_has_its_name(raw: bytes, code: str) -> None:
    assert code_of(raw) == code


@pytest.mark.parametrize("before", [REQUEST, b"\x00", rtu(1, 4, 2, 0, 7), b"\xff" * 20])
def test_an_echo_a_wake_up_zero_or_a_late_answer_before_the_good_one_is_passed_over(before: bytes) -> None:
    assert read_answer(before + ANSWER, expected_of(REQUEST)) == Block(4, 0, (0x4366, 0x3334))


def test_tcp_answers_are_told_by_their_bytes() -> None:
    request = struct.pack(">HHHBBHH", 7, 0, 6, 1, 4, 0, 2)
    good = struct.pack(">HHHBBBf", 7, 0, 7, 1, 4, 4, 230.5)
    assert isinstance(read_answer(good, expected_of(request)), Block)
    assert isinstance(read_answer(good, Expected()), Block)
    assert code_of(good[:-1], request) == "truncated"
    assert code_of(b"\x00\x06" + good[2:], request) == "wrong_transaction"
    assert code_of(good[:6] + b"\x09" + good[7:], request) == "wrong_slave"


def test_a_swapped_checksum_is_refused_with_a_hint_and_taken_where_the_profile_says_so() -> None:
    swapped = ANSWER[:-2] + ANSWER[-1:] + ANSWER[-2:-1]
    refused = read_answer(swapped, expected_of(REQUEST))
    assert isinstance(refused, Fault)
    assert (refused.code, "crc_order" in refused.detail) == ("bad_checksum", True)
    assert isinstance(read_answer(swapped, expected_of(REQUEST), "big"), Block)


@given(st.binary(max_size=60), st.sampled_from([REQUEST, b"", struct.pack(">HHHBBHH", 7, 0, 6, 1, 4, 0, 2)]))
def test_no_bytes_make_the_reader_fail(raw: bytes, request: bytes) -> None:
    assert isinstance(read_answer(raw, expected_of(request) if request else Expected()), (Block, Fault))
    heard = RegisterDecoder(PROFILE, expected_of(request) if request else None)
    for result in [*heard.feed(raw), *heard.finish()]:
        assert isinstance(result, (Reading, Fault))


def test_a_single_flipped_bit_never_gives_a_value() -> None:
    for bit in range(len(ANSWER) * 8):
        flipped = bytearray(ANSWER)
        flipped[bit // 8] ^= 1 << bit % 8
        assert isinstance(read_answer(bytes(flipped), expected_of(REQUEST)), Fault)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=8, max_size=8))
def test_what_is_encoded_decodes_to_the_same_values(numbers: list[float]) -> None:
    values = dict(zip(PROFILE.numbers, numbers, strict=True))
    assert RegisterDecoder(PROFILE).reading(encoder(PROFILE)(values)).values == values


def test_a_value_that_is_not_finite_is_missing() -> None:
    image = encoder(PROFILE)({"voltage": 230.0, "current": float("inf")})
    reading = RegisterDecoder(PROFILE).reading(image)
    assert reading.values["current"] is None
    assert reading.values["power_active"] is None
    assert reading.flags[:3] == (1, 9, 9)
    assert reading.notes == ("not_finite",)


def test_neighbours_share_a_request_and_no_value_is_split() -> None:
    spans = [(request.address, request.count) for request in RegisterDecoder(PROFILE).requests]
    assert spans == [(0, 2), (6, 2), (12, 2), (30, 2), (70, 6), (342, 2)]


SWAPPED = """
profile: test.swapped
models: [Swapped]
source: made up
wire: {grammar: registers, function: 3, type: s32, words: low_first, gap: 2, max_words: 6}
fields:
  current: {at: 0, unit: mA}
  voltage: {at: 0x2, type: u16, order: little, scale: 0.01, unit: V}
  temperature: {at: 5, type: s16, scale: 0.1, offset: -100, unit: degC, sentinels: [32767]}
  power_active: {at: 6, type: f32, words: high_first, precision: 0.1, unit: kW}
"""


def test_word_order_byte_order_offset_and_gaps_are_each_fields_own(tmp_path: Path) -> None:
    folder = tmp_path / "test"
    folder.mkdir()
    profile = parse(SWAPPED.lstrip().encode(), folder / "swapped.yaml")
    heard = RegisterDecoder(profile)
    assert [(request.address, request.count) for request in heard.requests] == [(0, 6), (6, 2)], (
        "max_words parts, never inside a value"
    )
    words = {0: 0xFFFD, 1: 0xFFFF, 2: 0xE759, 5: 1263, 6: 0x3F80, 7: 0x0000}
    image = {register(3, at): word for at, word in words.items()}
    reading = heard.reading(image)
    assert reading.values == pytest.approx({"current": -0.003, "voltage": 230.15, "temperature": 26.3, "power_active": 1000.0})
    assert heard.reading({**image, register(3, 5): 32767}).values["temperature"] is None
    partial = heard.reading({register(3, 0): 1})
    assert set(partial.values.values()) == {None}, "half a value is none"
    values = {name: value for name, value in reading.values.items() if value is not None}
    assert encoder(profile)(values) == image
