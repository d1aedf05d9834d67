"""Checksums against frames that makers print in their manuals."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.decode.checksums import FUNCTIONS, checker, writer
from adapters.profile import Check, Checksum


@pytest.mark.parametrize(
    ("name", "data", "value"),
    [
        ("sum16", "424de20000", 0x0171),  # Plantower: read in passive mode
        ("sum8", "00060006 0058d9", 0x3D),  # Nova SDS011, a captured frame
        ("twos8", "018600000000 00", 0x79),  # Winsen MH-Z19: read CO2
        ("inv8", "000300", 0xFC),  # Sensirion SPS30: read values
        ("xor8", "02535438343320 4b03", 0x52),  # Gesytec, Bayern-Hessen: ST843 K
        ("crc16_modbus", "010400000002", 0xCB71),  # Eastron SDM230: read the voltage
    ],
)
def test_a_printed_frame_has_its_printed_checksum(name: Checksum, data: str, value: int) -> None:
    assert FUNCTIONS[name](bytes.fromhex(data)) == value


@given(st.sampled_from(sorted(FUNCTIONS)), st.binary(min_size=12, max_size=12), st.sampled_from(["big", "little"]))
def test_what_is_written_is_found_right_and_a_changed_byte_is_not(name: Checksum, data: bytes, order: str) -> None:
    check = Check(name, at=10, start=1, order="big" if order == "big" else "little")
    frame = bytearray(data)
    writer(check)(frame)
    assert checker(check)(bytes(frame))
    frame[4] ^= 0x10
    assert not checker(check)(bytes(frame))
