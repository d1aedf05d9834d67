"""100 Modbus TCP devices of 10 registers, each asked once a second; CPU per value beside plain pymodbus in the same run out.

The devices are a process of their own. Ours is what the daemon does: a thread per device, its profile, a sample with its moment.
Plain is one loop over pymodbus clients that scales ten numbers: no profile, no deadline, nobody who waits for a slow device.
"""

import argparse
import os
import selectors
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from adapters.profile import Profile, load
from adapters.sensor import open_sensor
from adapters.transport.base import parse_address
from bench.measure import machine, write
from edge.health import Clock
from edge.poll import Polled, PortWorker, Post

DEVICES, REGISTERS = 100, 10
UNITS = dict.fromkeys(("pm1_0", "pm2_5", "pm10"), "ug/m3") | {"voltage": "V", "current": "A", "power_active": "W"}
UNITS |= {"frequency": "Hz", "temperature": "degC", "relative_humidity": '"%"', "pressure": "hPa"}
ROWS = "".join(f"  {name}: {{at: {at}, unit: {unit}, scale: 0.1}}\n" for at, (name, unit) in enumerate(UNITS.items()))
PROFILE = f"""\
profile: bench.ten
models: [Ten]
source: a bench
wire: {{grammar: registers, function: 3, type: u16}}
fields:
{ROWS}"""


def serve() -> None:
    """The devices: prints their ports, answers until its input ends."""
    chosen = selectors.DefaultSelector()
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(DEVICES)]
    for door in doors:
        chosen.register(door, selectors.EVENT_READ, True)
    words = struct.pack(f">{REGISTERS}H", *range(1000, 1000 + REGISTERS))
    print(*(door.getsockname()[1] for door in doors), flush=True)
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    while True:
        for key, _ in chosen.select():
            link = key.fileobj
            assert isinstance(link, socket.socket)
            if key.data:
                chosen.register(link.accept()[0], selectors.EVENT_READ, False)
            elif len(asked := link.recv(12)) == 12:
                link.sendall(asked[:4] + struct.pack(">HBBB", 3 + len(words), asked[6], asked[7], len(words)) + words)
            else:
                chosen.unregister(link)
                link.close()


def ours(ports: list[int], profile: Profile, seconds: float) -> tuple[float, int]:
    """CPU [s] and values of the daemon's way."""
    got: list[Polled] = []
    clock, workers = Clock(), []
    for port in ports:
        address = parse_address(f"modbus-tcp://127.0.0.1:{port}", Path())
        sensor = open_sensor(profile, address, sensor_id=f"d{port}", every_s=1)
        sensor.sample(5)  # connects, untimed
        post = Post(f"d{port}", sensor, 1.0, 3.0)
        workers.append(PortWorker(str(port), [post], post=got.append, clock=clock))
    for worker in workers:  # spread over the second, as sensors of a real network are
        worker.start()
        time.sleep(0.5 / len(workers))
    time.sleep(0.5)
    begun, before = time.process_time(), len(got)
    time.sleep(seconds)
    used, count = time.process_time() - begun, len(got) - before
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.join(3)
    assert all(polled.state == "ok" for polled in got), {polled.why for polled in got}
    return used, count * REGISTERS


def plain(ports: list[int], seconds: float) -> tuple[float, int]:
    """CPU [s] and values of one loop over pymodbus clients."""
    from pymodbus.client import ModbusTcpClient

    clients = [ModbusTcpClient("127.0.0.1", port=port, timeout=3, retries=0) for port in ports]
    for client in clients:
        client.connect()  # type: ignore[no-untyped-call]
        client.read_holding_registers(0, count=REGISTERS, device_id=1)
    values, begun, at = 0, time.process_time(), time.monotonic()
    until = at + seconds
    while time.monotonic() < until:
        for number, client in enumerate(clients):
            if (pause := at + number / len(clients) - time.monotonic()) > 0:
                time.sleep(pause)
            answer = client.read_holding_registers(0, count=REGISTERS, device_id=1)
            values += len([word * 0.1 for word in answer.registers])
        at += 1
    used = time.process_time() - begun
    for client in clients:
        client.close()  # type: ignore[no-untyped-call]
    return used, values


def run(seconds: float, rounds: int) -> str:
    os.sched_setaffinity(0, {0})
    threading.stack_size(256 * 1024)
    with tempfile.TemporaryDirectory(prefix="harmattan-bench-") as name:
        file = Path(name) / "bench" / "ten.yaml"
        file.parent.mkdir()
        file.write_text(PROFILE)
        profile = load(file)
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdin=-1, stdout=-1, text=True) as devices:
        assert devices.stdout is not None
        ports = [int(port) for port in devices.stdout.readline().split()]
        pairs = []
        for _ in range(rounds):
            (a, mine), (b, theirs) = ours(ports, profile, seconds), plain(ports, seconds)
            pairs.append((a / mine * 1e6, b / theirs * 1e6, a / seconds))
            print(f"  ours {pairs[-1][0]:.1f} us, plain {pairs[-1][1]:.1f} us a value", file=sys.stderr)
        assert devices.stdin is not None
        devices.stdin.close()
    ratio = median(a / b for a, b, _ in pairs)
    return "\n".join(
        [
            "| ours, CPU per value | plain pymodbus | ratio | goal | share of a core |",
            "|---|---|---|---|---|",
            f"| {median(a for a, _, _ in pairs):.1f} us | {median(b for _, b, _ in pairs):.1f} us | {ratio:.2f} | 1.5 "
            f"| {100 * median(s for _, _, s in pairs):.1f} % |",
            "",
            f"{rounds} rounds of {seconds:g} s each way. {machine()}",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="into bench/README.md")
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve()
    table = run(asked.seconds, asked.rounds)
    if asked.write:
        write("modbus", table)
    else:
        print(table)


if __name__ == "__main__":
    main()
