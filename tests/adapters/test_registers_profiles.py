"""Every shipped profile of grammar registers: what it says it understands; damaged frames never give a value."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.catalogue import Catalogue
from adapters.decode import Fault
from adapters.decode.modbus import Answers, Block, Request, expected_of, framed, register
from adapters.decode.registers import RegisterDecoder, encoder, requests_of
from adapters.profile import SIZES, Field, Profile, RegisterWire
from readings.parameters import PARAMETERS

CATALOGUE = Catalogue.load()
PROFILES = [p for p in map(CATALOGUE.get, CATALOGUE.ids()) if isinstance(p.wire, RegisterWire)]


def frames(profile: Profile, image: dict[int, int], unit: int = 17) -> list[tuple[bytes, bytes]]:
    """Each request of a sample with its answer."""
    assert isinstance(profile.wire, RegisterWire)
    pairs = []
    for request in RegisterDecoder(profile).requests:
        row = [register(request.function, at) for at in range(request.address, request.address + request.count)]
        words = b"".join(image.get(at, 0).to_bytes(2, "big") for at in row)
        answer = framed(unit, bytes((request.function, len(words))) + words, profile.wire.crc_order)
        pairs.append((framed(unit, request.pdu), answer))
    return pairs


def truth(profile: Profile, pick: random.Random) -> dict[str, float]:
    """Values on the wire's own steps, within what each parameter can be."""
    plan, values = RegisterDecoder(profile).plan, {}
    for channel, name in zip(plan.channels, plan.names, strict=True):
        low, high = profile.every[name].range or (0, 100)
        step = 10.0**channel.exponent
        values[name] = round(round(pick.uniform(max(low, -1e5), min(high, 3e4)) / step) * step, 6)
    return values


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.id)
def test_what_a_device_would_send_decodes_to_what_it_meant(profile: Profile) -> None:
    pick = random.Random(profile.id)  # a seed that tells which profile failed
    assert isinstance(profile.wire, RegisterWire)
    for _ in range(50):
        values, image = truth(profile, pick), {}
        for request, answer in frames(profile, encoder(profile)(values)):
            [block] = Answers(expected_of(request), profile.wire.crc_order).feed(answer)
            assert isinstance(block, Block)
            image.update(block.image)
        steps = {channel.parameter: 10.0**channel.exponent for channel in RegisterDecoder(profile).plan.channels}
        got = RegisterDecoder(profile).reading(image).values
        for name, value in values.items():
            assert got[name] == pytest.approx(value, abs=steps[name], rel=1e-6), name


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.id)
def test_no_value_of_32_bits_is_parted_and_every_register_is_asked_for(profile: Profile) -> None:
    heard = RegisterDecoder(profile)
    rows = [range(register(r.function, r.address), register(r.function, r.address) + r.count) for r in heard.requests]
    for place in heard._places:
        assert any(place.registers[0] in row and place.registers[-1] in row for row in rows)
    assert all(1 <= request.count <= 125 for request in heard.requests)


@pytest.mark.parametrize("profile", PROFILES, ids=lambda profile: profile.id)
def test_no_single_flipped_bit_gives_a_value(profile: Profile) -> None:
    assert isinstance(profile.wire, RegisterWire)
    request, answer = frames(profile, encoder(profile)(truth(profile, random.Random(1))))[0]
    for bit in range(len(answer) * 8):
        flipped = bytearray(answer)
        flipped[bit // 8] ^= 1 << bit % 8
        answers = Answers(expected_of(request), profile.wire.crc_order)
        assert not any(isinstance(result, Block) for result in answers.feed(bytes(flipped)))
        assert isinstance(answers.finish()[-1], Fault)


@settings(max_examples=200)
@given(st.binary(max_size=40), st.binary(max_size=40), st.lists(st.integers(1, 30), max_size=4))
def test_a_good_answer_is_found_whatever_stands_around_it_and_however_it_is_cut(
    before: bytes, after: bytes, cuts: list[int]
) -> None:
    request, answer = framed(17, Request(4, 9, 3).pdu), framed(17, bytes.fromhex("0406000100020003"))
    stream, answers, found = before + answer + after, Answers(expected_of(request)), []
    for cut in cuts:
        found += answers.feed(stream[:cut])
        stream = stream[cut:]
    found += answers.feed(stream)
    assert Block(4, 9, (1, 2, 3)) in found


@given(st.lists(st.binary(max_size=600), max_size=8))
def test_what_stands_open_is_bounded(parts: list[bytes]) -> None:
    answers = Answers(expected_of(framed(17, Request(4, 9, 3).pdu)))
    for part in parts:
        answers.feed(part)
    assert len(answers._open) <= 512
    answers.finish()


@given(
    st.lists(st.tuples(st.integers(0, 400), st.sampled_from(["u16", "s32", "u64"])), min_size=1, max_size=24),
    st.integers(4, 125),
    st.integers(0, 20),
)
def test_requests_hold_every_value_whole_and_no_register_twice(rows: list[tuple[int, str]], most: int, gap: int) -> None:
    names = [name for name, parameter in PARAMETERS.items() if parameter.unit == "ug/m3"][: len(rows)]
    fields = {name: Field(at, type=kind, unit="ug/m3") for name, (at, kind) in zip(names, rows, strict=False)}  # type: ignore[arg-type]
    wire = RegisterWire(max_words=most, gap=gap)
    profile = Profile(id="a.b", models=("B",), source=("a",), wire=wire, fields=fields)
    requests = requests_of(profile)
    spans = [range(request.address, request.address + request.count) for request in requests]
    for field in fields.values():
        assert isinstance(field.at, int)
        assert sum(field.at in span and field.at + SIZES[field.type or "u16"] // 2 - 1 in span for span in spans) == 1
    ends = sorted((span.start, span.stop) for span in spans)
    assert all(stop <= start for (_, stop), (start, _) in pairwise(ends)), "no register is asked for twice"


def test_two_frames_at_once_are_two_frames() -> None:
    request, answer = framed(17, Request(4, 9, 1).pdu), framed(17, bytes.fromhex("04020007"))
    found = Answers(expected_of(request)).feed(framed(16, bytes.fromhex("04020001")) + answer)
    assert [getattr(result, "code", "good") for result in found] == ["wrong_slave", "good"]


def test_a_clock_that_is_none_is_left_out() -> None:
    heard = RegisterDecoder(CATALOGUE.get("epever.tracer"))
    words = {36883: 0x1805, 36884: 0x0202, 36885: 0x0F07}
    image = {register(3, at): word for at, word in words.items()}
    assert heard.reading(image).texts == {"device_clock_local": "2015-07-02T02:24:05"}
    assert heard.reading({**image, register(3, 36885): 0x0F0D}).texts == {}
    assert heard.reading({register(3, 36883): 0x1805}).texts == {}
    spoken = encoder(CATALOGUE.get("epever.tracer"))({"device_clock_local": "2015-07-02T02:24:05"})
    assert {at: spoken[register(3, at)] for at in words} == words
