"""Checksums by name: bytes in, a number out; and closures that check or write one within a frame. No I/O here."""

from collections.abc import Callable, Mapping

from adapters.profile import Check, Checksum


def sum16(data: bytes) -> int:
    return sum(data) & 0xFFFF


def sum8(data: bytes) -> int:
    return sum(data) & 0xFF


def twos8(data: bytes) -> int:
    """The byte that makes the sum of all zero modulo 256."""
    return -sum(data) & 0xFF


def inv8(data: bytes) -> int:
    return ~sum(data) & 0xFF


def xor8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
    return value


def _reflected(polynomial: int) -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ polynomial if crc & 1 else crc >> 1
        table.append(crc)
    return tuple(table)


_MODBUS, _8408 = _reflected(0xA001), _reflected(0x8408)


def crc16_modbus(data: bytes) -> int:
    """Reflected 0x8005 from 0xFFFF ("MODBUS over serial line", V1.02, 6.2.2). On a serial line its low byte comes first."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _MODBUS[(crc ^ byte) & 0xFF]
    return crc


def crc16_8408(data: bytes) -> int:
    """Reflected 0x1021 from 0xFFFF, as UMB and IPS-7100 use it (CRC-16/MCRF4XX)."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _8408[(crc ^ byte) & 0xFF]
    return crc


def crc16_1021(data: bytes) -> int:
    """0x1021 from 0xFFFF, highest bit first (CRC-16/IBM-3740, also called CCITT-FALSE)."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1
        crc &= 0xFFFF
    return crc


def crc8(data: bytes) -> int:
    """0x31 from 0xFF, highest bit first (Sensirion's)."""
    crc = 0xFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x31 if crc & 0x80 else crc << 1) & 0xFF
    return crc


FUNCTIONS: Mapping[Checksum, Callable[[bytes], int]] = {
    "sum16": sum16,
    "sum8": sum8,
    "twos8": twos8,
    "inv8": inv8,
    "xor8": xor8,
    "crc8": crc8,
    "crc16_modbus": crc16_modbus,
    "crc16_8408": crc16_8408,
    "crc16_1021": crc16_1021,
}
SIZES: Mapping[Checksum, int] = {"sum16": 2, "crc16_modbus": 2, "crc16_8408": 2, "crc16_1021": 2}
"""Bytes of each sum; 1 where it is not named."""


def checker(check: Check) -> Callable[[bytes], bool]:
    """frame -> whether its checksum fits."""
    at, start, end = check.at, check.start, check.at if check.end is None else check.end
    function = FUNCTIONS[check.sum]
    if SIZES.get(check.sum, 1) == 1:
        return lambda frame: frame[at] == function(frame[start:end])
    high, low = (at, at + 1) if check.order == "big" else (at + 1, at)
    if check.sum == "sum16":  # spelled out: the call would cost a fifth of a frame's decoding
        return lambda frame: sum(frame[start:end]) & 0xFFFF == frame[high] << 8 | frame[low]
    return lambda frame: function(frame[start:end]) == frame[high] << 8 | frame[low]


def writer(check: Check) -> Callable[[bytearray], None]:
    """Puts the checksum into a frame."""
    start, end = check.start, check.at if check.end is None else check.end
    function, size = FUNCTIONS[check.sum], SIZES.get(check.sum, 1)

    def write(frame: bytearray) -> None:
        at = check.at % len(frame)
        frame[at : at + size] = function(bytes(frame[start:end])).to_bytes(size, check.order)

    return write
