"""Checksums of lines of text by name: a line's bytes in, the characters that seal it out. No I/O here."""

from collections.abc import Callable, Mapping

from adapters.decode.checksums import xor8
from adapters.profile import Tail


def vaisala_crc3(data: bytes) -> bytes:
    """CRC-16 (0xA001 from 0) as three printable characters. Vaisala WXT520 User's Guide M210906EN, appendix C."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ 0xA001 if crc & 1 else crc >> 1
    return bytes((0x40 | crc >> 12, 0x40 | crc >> 6 & 0x3F, 0x40 | crc & 0x3F))


def _xor_hex(data: bytes) -> bytes:
    return b"%02X" % xor8(data)


SEALS: Mapping[Tail, Callable[[bytes], bytes]] = {
    "xor_hex": _xor_hex,
    "bcc_xor": _xor_hex,
    "sum8_hex": lambda data: b"%02X" % (sum(data) & 0xFF),
    "sum16_hex": lambda data: b"%04X" % (sum(data) & 0xFFFF),
    "vaisala_crc3": vaisala_crc3,
}
SIZES: Mapping[Tail, int] = {"xor_hex": 2, "bcc_xor": 2, "sum8_hex": 2, "sum16_hex": 4, "vaisala_crc3": 3}
"""Characters of each."""


def same(tail: Tail, said: bytes, meant: bytes) -> bool:
    """Hex digits are written in either case; Vaisala's characters are not."""
    return said == meant if tail == "vaisala_crc3" else said.upper() == meant
