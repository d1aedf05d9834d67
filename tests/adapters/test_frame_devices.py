"""Every binary device of the catalogue: what it says is understood, whole or in pieces, and nothing else is."""

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.catalogue import Catalogue
from adapters.decode import Fault, Reading, decoder
from adapters.decode.frame import decoder as reader_of
from adapters.decode.frame import encoder, stuffed, unstuffed
from adapters.decode.reading import plan_of
from adapters.profile import SIZES, Field, FrameWire, Message, Profile

CATALOGUE = Catalogue.load()
PROFILES = [p for p in map(CATALOGUE.get, CATALOGUE.ids()) if isinstance(p.wire, FrameWire)]
SPOKEN = [
    (profile, message)
    for profile in PROFILES
    for message in (None, *profile.messages.values())
    if message is None or any(field.type != "text" for field in message.fields.values())
]


def named(one: object) -> str:
    return one.id if isinstance(one, Profile) else "main" if one is None else "message"


def raw_values(profile: Profile, message: Message | None, draw: st.DataObject) -> dict[str, float]:
    """Values on the wire's own steps, no sentinels."""
    part = message or profile
    wire = part.wire
    assert isinstance(wire, FrameWire)
    plan = plan_of(profile, message)
    values = {}
    for at, name in enumerate(plan.names):
        field = part.fields.get(name)
        if field is None or field.type == "text":
            continue
        values[name] = plan.scales[at].value(draw.draw(_raw(field, wire), label=name))
    return {name: value for name, value in values.items() if value is not None}


def _raw(field: Field, wire: FrameWire) -> "st.SearchStrategy[int]":
    kind = field.type or wire.type
    if kind == "f32":
        return st.integers(1, 4000)
    bits = field.bits[1] - field.bits[0] + 1 if field.bits else 8 * SIZES[kind]
    bits = min(bits, 31)
    low = -(2 ** (bits - 1)) if kind.startswith("s") and not field.bits else 1
    high = 2 ** (bits - 1) - 1 if kind.startswith("s") and not field.bits else 2**bits - 1
    return st.integers(low, high).filter(lambda raw: raw not in field.sentinels)


@pytest.mark.parametrize(("profile", "message"), SPOKEN, ids=named)
@settings(max_examples=8)
@given(draw=st.data())
def test_what_is_encoded_decodes_to_the_same_values(profile: Profile, message: Message | None, draw: st.DataObject) -> None:
    values = raw_values(profile, message, draw)
    said = encoder(profile, message)(values)
    results = decoder(profile).feed(said)
    assert len(results) == 1
    assert isinstance(results[0], Reading)
    heard = {name: value for name, value in results[0].values.items() if value is not None}
    assert {name: heard[name] for name in values} == pytest.approx(values, rel=1e-6)


@pytest.mark.parametrize("profile", PROFILES, ids=named)
def test_no_single_flipped_bit_gives_another_value(profile: Profile) -> None:
    """Under the checksum every flip is a fault; a flip outside it (a stuffing byte, the tail) may leave the same reading."""
    wire = profile.wire
    assert isinstance(wire, FrameWire)
    assert wire.check is not None
    frame = encoder(profile)(_middle(profile))
    heard = decoder(profile)
    (right,) = heard.feed(frame)
    assert isinstance(right, Reading)
    for bit in range(len(frame) * 8):
        flipped = bytearray(frame)
        flipped[bit // 8] ^= 1 << bit % 8
        heard.reset()
        for result in [*heard.feed(bytes(flipped)), *heard.finish()]:
            assert not isinstance(result, Reading) or result.numbers == right.numbers


def _middle(profile: Profile) -> dict[str, float]:
    """A value for each parameter, on its step, neither zero nor a sentinel."""
    plan = plan_of(profile)
    return {
        name: value
        for at, name in enumerate(plan.names)
        if name in profile.fields and (value := plan.scales[at].value(37 + at % 20)) is not None
    }


@pytest.mark.parametrize("profile", PROFILES, ids=named)
def test_frames_are_found_however_the_bytes_arrive(profile: Profile) -> None:
    frame = encoder(profile)(_middle(profile))
    for size in (1, 2, 3, 7, 31, len(frame), 200):
        heard = decoder(profile)
        stream = frame * 5
        found = [result for at in range(0, len(stream), size) for result in heard.feed(stream[at : at + size])]
        assert [type(result) for result in found] == [Reading] * 5
        assert heard.skipped == 0


@pytest.mark.parametrize("profile", [p for p in PROFILES if p.wire.start], ids=named)  # type: ignore[union-attr]  # frames
def test_a_lost_byte_costs_one_frame_and_a_stray_one_none(profile: Profile) -> None:
    frame = encoder(profile)(_middle(profile))
    heard = decoder(profile)
    for at in range(len(frame)):
        heard.reset()
        readings = [r for r in heard.feed(frame[:at] + frame[at + 1 :] + frame * 2) if isinstance(r, Reading)]
        assert len(readings) >= 2
    for stray in (0x00, 0x42, frame[0], 0xFF):
        heard.reset()
        readings = [r for r in heard.feed(frame + bytes((stray,)) + frame * 2) if isinstance(r, Reading)]
        assert len(readings) == 3


@pytest.mark.parametrize("profile", PROFILES, ids=named)
@settings(max_examples=20)
@given(pieces=st.lists(st.binary(max_size=200), max_size=6))
def test_no_bytes_make_a_reader_fail_or_grow(profile: Profile, pieces: list[bytes]) -> None:
    heard = reader_of(profile)
    for piece in pieces:
        for result in heard.feed(piece):
            assert isinstance(result, (Reading, Fault))
        assert len(heard._open) <= 2100  # type: ignore[attr-defined]  # what any of the three keeps
    assert all(isinstance(result, Fault) for result in heard.finish())


def test_another_makers_frames_are_counted_and_the_own_one_behind_them_is_found() -> None:
    for mine, other in itertools.permutations(["nova.sds011", "winsen.mhz19b", "sensirion.sps30", "bosch.mcu680"], 2):
        own, foreign = CATALOGUE.get(mine), CATALOGUE.get(other)
        stream = encoder(foreign)(_middle(foreign)) * 3 + encoder(own)(_middle(own)) * 2
        heard = decoder(own)
        readings = [result for result in heard.feed(stream) if isinstance(result, Reading)]
        assert len(readings) >= 1
        assert heard.skipped > 0


@given(st.binary(max_size=300))
def test_stuffing_is_undone_in_one_pass(body: bytes) -> None:
    frame = b"\x7e" + body + b"\x7e"
    assert unstuffed(stuffed(frame)) == frame
    assert b"\x7e" not in stuffed(frame)[1:-1]


def test_a_stuffing_byte_before_anything_else_is_told() -> None:
    heard = decoder(CATALOGUE.get("sensirion.sps30"))
    assert heard.feed(bytes.fromhex("7e00037d00fc7e")) == [Fault("bad_stuffing")]


def test_no_data_warming_up_error_and_zero_are_four_answers() -> None:
    sps30 = CATALOGUE.get("sensirion.sps30")
    said = {
        "no_data": "7e00030000fc7e",
        "device_error:0x43": "7e00034300b97e",
        "warming_up": "7e0003002800000000000000000000000000000000000000000000000000000000000000000000000000000000d47e",
    }
    for code, raw in said.items():
        (fault,) = decoder(sps30).feed(bytes.fromhex(raw))
        assert isinstance(fault, Fault)
        assert fault.code == code
    (zero,) = decoder(sps30).feed(encoder(sps30)({"pm2_5": 0.0, "typical_particle_size": 0.5}))
    assert isinstance(zero, Reading)
    assert zero.values["pm2_5"] == 0


def test_status_bits_name_what_is_wrong_and_mark_what_they_spoil() -> None:
    (reading,) = decoder(CATALOGUE.get("sensirion.sps30")).feed(bytes.fromhex("7e00d2000500000020000 87e".replace(" ", "")))
    assert isinstance(reading, Reading)
    assert reading.notes == ("laser_failed",)
    assert reading.flags[reading.plan.names.index("status_register")] == 4


def test_a_parameter_of_two_messages_keeps_one_channel_on_the_finer_step() -> None:
    profile = CATALOGUE.get("sensirion.sps30")
    plans = [plan_of(profile), *(plan_of(profile, message) for message in profile.messages.values())]
    assert len({json.dumps([[c.parameter, c.unit, c.exponent] for c in plan.channels]) for plan in plans}) == 1
    whole = next(r for r in decoder(profile).feed(bytes.fromhex("7e00030014000500080009000a0023002b002e002f00300330ba7e")))
    assert isinstance(whole, Reading)
    assert whole.values["typical_particle_size"] == 0.816
