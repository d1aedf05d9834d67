"""Rows over a real broker and hub in; what the link carries beside them, and what is sent again when it breaks, out.

Bytes are those of TCP's payload both ways, counted by a proxy; payload is the compressed rows without our header.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.measure import machine, write
from readings.batch import HEADER_BYTES, read_header
from tests.e2e.network import Network
from tests.faults.crowd import Crowd, Key, Station
from tests.faults.proxy import Proxy
from tests.faults.returns import enrol

RESETS_A_MINUTE = 5
SMALL_EXCHANGES = 40


class Meter:
    """What one station publishes: messages of rows, their payload, and rows that had been published before."""

    def __init__(self) -> None:
        self.messages = self.payload = self.rows = self.again = self.again_bytes = self.hellos = 0
        self._seen: set[tuple[str, int]] = set()

    def __call__(self, topic: str, payload: bytes) -> None:
        if topic.endswith("/hello"):
            self.hellos += 1
            return
        header = read_header(payload)
        rows = {(header.stream, seq) for seq in range(header.lo, header.hi + 1)}
        again = len(rows & self._seen)
        self._seen |= rows
        self.messages += 1
        self.payload += len(payload) - HEADER_BYTES
        self.rows += len(rows)
        self.again += again
        self.again_bytes += len(payload) * again // len(rows)


def over_a_proxy(net: Network, folder: Path, key: Key, work: Callable[[Station, Crowd, Proxy, Meter], str]) -> str:
    meter = Meter()
    with Proxy(net.mqtt_port) as proxy:
        station = Station(folder / key.gateway, key, f"mqtt://127.0.0.1:{proxy.port}", watch=meter)
        crowd = Crowd([station])
        try:
            return work(station, crowd, proxy, meter)
        finally:
            crowd.stop()


def backlog(station: Station, crowd: Crowd, proxy: Proxy, meter: Meter) -> str:
    """A backlog of 20 messages of up to 32 KiB, its connection and hello included."""
    station.make(80_000, every_s=60)
    crowd.start()
    crowd.run(lambda: station.pending == 0, 120)
    beside = (proxy.passed - meter.payload) / meter.payload
    size = meter.payload // meter.messages
    over = f"{meter.messages} messages of {size:,} B, connection and hello included"
    return f"| backlog | {over} | {beside:.1%} beside the payload | 5 % |"


def small(station: Station, crowd: Crowd, proxy: Proxy, meter: Meter) -> str:
    """One row at a time: message, PUBACK and ack."""
    crowd.start()
    crowd.run(lambda: station.pending == 0, 30)
    passed, payload, messages = proxy.passed, meter.payload, meter.messages
    for _ in range(SMALL_EXCHANGES):
        station.fresh()
        crowd.run(lambda: station.pending == 0, 30)
    count = meter.messages - messages
    each = (proxy.passed - passed - (meter.payload - payload)) / count
    return f"| small exchange | {count} messages of one row | {each:.0f} B beside the payload | 200 B |"


def breaking(minutes: float) -> Callable[[Station, Crowd, Proxy, Meter], str]:
    """Two rows a second over a link that is reset every 12 s."""

    def work(station: Station, crowd: Crowd, proxy: Proxy, meter: Meter) -> str:
        station.make(2000, every_s=60)
        crowd.start()
        until = time.monotonic() + 60 * minutes
        resets = [0, time.monotonic()]

        def over() -> bool:
            station.fresh()
            if time.monotonic() - resets[1] > 60 / RESETS_A_MINUTE:
                resets[0], resets[1] = resets[0] + 1, time.monotonic()
                proxy.reset()
            return time.monotonic() > until

        crowd.run(over, 60 * minutes + 60)
        crowd.run(lambda: station.pending == 0, 120)
        share = meter.again / max(1, meter.rows - meter.again)
        return f"| resets | {resets[0]} in {minutes:g} min, {meter.rows - meter.again:,} rows | {share:.1%} sent again | 10 % |"

    return work


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--write", action="store_true", help="into bench/README.md")
    chosen = parser.parse_args()
    lines = ["| what | over | measured | goal |", "|---|---|---|---|"]
    with tempfile.TemporaryDirectory(prefix="harmattan-bench-") as name:
        folder = Path(name)
        with Network(folder) as net:
            works = [backlog, small, breaking(chosen.minutes)]
            for key, work in zip(enrol(net, ["link-01", "link-02", "link-03"]), works, strict=True):
                lines.append(over_a_proxy(net, folder, key, work))
                print(lines[-1], file=sys.stderr)
    text = "\n".join([*lines, "", machine()])
    write("link", text) if chosen.write else print(text)


if __name__ == "__main__":
    main()
