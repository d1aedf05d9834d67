"""Frames of three binary sensors in; CPU of decoding one by its profile beside code written by hand for it, in the same run, out.

By hand: one struct, header, length and sum compared, a dict of named values in canonical units. By profile: the stream decoder, a
reading with its flags, and the scaled integers of its sample. Also: how often the process wakes for one frame on a serial line.
"""

import argparse
import os
import pty
import struct
import sys
import threading
import time
import tty
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from adapters.catalogue import Catalogue
from adapters.decode import Reading, decoder
from adapters.decode.frame import unstuffed
from adapters.profile import Link
from adapters.transport.serial import SerialLine
from bench.measure import Figure, machine, side_by_side, write

PMS = bytes.fromhex("424d001c0005000d00160005000d001602fd00fc001d000f00060006970003c5")
SDS = bytes.fromhex("aac0d4043a0aa1601dab")
SPS = bytes.fromhex("7e0003002840a78320411777bb414a5f8341548ddd41d2833e427d33fc85422617224229a4d9422a29bc3f55b7e79e7e")
PMS_LAYOUT = struct.Struct(">HH12HHH")
FLOATS = ("pm1_0", "pm2_5", "pm4_0", "pm10", "n_lt_0_5um", "n_lt_1_0um", "n_lt_2_5um", "n_lt_4_0um", "n_lt_10um", "size")
GOAL = 6.0


def pms_by_hand() -> object:
    head, length, a, b, c, d, e, f, g, h, i, j, k, m, _, check = PMS_LAYOUT.unpack(PMS)
    if head != 0x424D or length != 28 or check != sum(PMS[:30]) & 0xFFFF:
        raise ValueError("bad frame")
    return {
        "pm1_0_cf1": a, "pm2_5_cf1": b, "pm10_cf1": c, "pm1_0": d, "pm2_5": e, "pm10": f, "n_gt_0_3um": g / 100,
        "n_gt_0_5um": h / 100, "n_gt_1_0um": i / 100, "n_gt_2_5um": j / 100, "n_gt_5_0um": k / 100, "n_gt_10um": m / 100,
    }  # fmt: skip


def sds_by_hand() -> object:
    head, pm2_5, pm10, _, check, tail = struct.unpack("<HHHHBB", SDS)
    if head != 0xC0AA or tail != 0xAB or check != sum(SDS[2:8]) & 0xFF:
        raise ValueError("bad frame")
    return {"pm2_5": pm2_5 / 10, "pm10": pm10 / 10}


def sps_by_hand() -> object:
    frame = unstuffed(SPS)
    if frame is None or frame[:5] != b"\x7e\0\x03\0\x28" or frame[45] != ~sum(frame[1:45]) & 0xFF:
        raise ValueError("bad frame")
    return dict(zip(FLOATS, struct.unpack_from(">10f", frame, 5), strict=True))


def compared(profile_id: str, frame: bytes, by_hand: Callable[[], object]) -> Figure:
    feed = decoder(Catalogue.load().get(profile_id)).feed

    def by_profile() -> object:
        (reading,) = feed(frame)
        assert isinstance(reading, Reading)
        return reading.scaled

    assert by_hand()
    return side_by_side(profile_id, by_profile, by_hand, values=1, floor_is="a struct of its own")


def wakes() -> float:
    """Reads per frame of a PMS5003 that arrives as its kernel delivers it at 9600 baud."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    line = SerialLine(Path(os.ttyname(slave)), Link())
    line.open()
    frames, reads, got = 10, 0, 0

    def say() -> None:
        for _ in range(frames):
            for at in range(0, len(PMS), 16):  # a USB adapter's packets: 16 ms each
                os.write(master, PMS[at : at + 16])
                time.sleep(0.016)
            time.sleep(0.05)

    speaker = threading.Thread(target=say)
    speaker.start()
    while got < frames * len(PMS):
        chunk = line.read(0.5)
        reads, got = reads + 1, got + len(chunk.data if chunk else b"")
    speaker.join()
    line.close()
    os.close(slave)
    os.close(master)
    return reads / frames


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--write", action="store_true")
    given = options.parse_args()
    figures = [
        compared("plantower.pms5003", PMS, pms_by_hand),
        compared("nova.sds011", SDS, sds_by_hand),
        compared("sensirion.sps30", SPS, sps_by_hand),
    ]
    rows = ["| profile | by profile, CPU per frame | by hand | ratio | goal |", "|---|---|---|---|---|"]
    rows += [f"| {f.name} | {f.ours_us:.2f} us | {f.floor_us:.2f} us | {f.ratio:.2f} | {GOAL:g} |" for f in figures]
    text = "\n".join([*rows, "", f"One frame of 32 bytes wakes the reader {wakes():.1f} times. {machine()}"])
    if given.write:
        write("profiles", text)
    else:
        print(text)
    return 0 if figures[0].ratio <= GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
