"""A running daemon in; its resident memory and its share of a core out. Ten sensors once a minute, a real broker, a real hub."""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.measure import machine, write
from tests.e2e.network import Network
from tests.servers import free_port

TICKS = os.sysconf("SC_CLK_TCK")


def sensors(folder: Path) -> list[dict[str, Any]]:
    """4 PMS5003 on serial ports, 3 SDM230 on Modbus TCP, 3 AirGradient over HTTP."""
    serial = [("plantower.pms5003", f"serial:{folder}/pm{i}.tty") for i in range(4)]
    meters = [("eastron.sdm230", f"modbus-tcp://127.0.0.1:{free_port()}?unit=1") for _ in range(3)]
    boxes = [("airgradient.local", f"http://127.0.0.1:{free_port()}/measures/current") for _ in range(3)]
    return [
        {"id": f"s{i}", "profile": profile, "at": at, "every": "60s"}
        for i, (profile, at) in enumerate([*serial, *meters, *boxes])
    ]


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory_kb(pid: int, key: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def run(seconds: int) -> str:
    with tempfile.TemporaryDirectory(prefix="harmattan-bench-") as name, Network(Path(name)) as net:
        devices = sensors(Path(name))
        net.simulate(devices)
        gateway = net.add("bench-01", devices, link={"mode": "open"})
        process = gateway.program.process
        assert process is not None
        time.sleep(20)
        begun, at = cpu_s(process.pid), time.monotonic()
        while time.monotonic() - at < seconds:
            time.sleep(5)
            print(f"  {time.monotonic() - at:4.0f} s of {seconds} s", end="\r", file=sys.stderr, flush=True)
        used = (cpu_s(process.pid) - begun) / (time.monotonic() - at)
        states = {s["id"]: s["state"] for s in gateway.status()["sensors"]}
        assert set(states.values()) == {"ok"}, states
        rss, peak = memory_kb(process.pid, "VmRSS") / 1024, memory_kb(process.pid, "VmHWM") / 1024
        rows = len(net.front("bench-01"))
    return "\n".join(
        [
            "| resident memory | its peak | share of a core | rows forwarded |",
            "|---|---|---|---|",
            f"| {rss:.1f} MiB | {peak:.1f} MiB | {used * 100:.2f} % | {rows} |",
            "",
            f"Over {seconds} s after the first 20 s. {machine()}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=300)
    parser.add_argument("--write", action="store_true", help="into bench/README.md")
    chosen = parser.parse_args()
    text = run(chosen.seconds)
    write("edge", text) if chosen.write else print(text)


if __name__ == "__main__":
    main()
