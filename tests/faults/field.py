"""A folder and a seed in; a real daemon, broker and hub behind a bad link out, shaken by faults drawn at random, then settled."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.e2e.network import Network, Program, settled
from tests.faults.proxy import NONE, Fault, Proxy
from tests.servers import free_port, wait_until

HEAL_S = 120.0


def devices(folder: Path) -> list[dict[str, Any]]:
    """Sensors that answer several times a second, so that rows are on their way at each fault."""
    ports = [free_port() for _ in range(3)]
    meters = [
        {"id": f"m{i}", "profile": "eastron.sdm230", "at": f"modbus-tcp://127.0.0.1:{port}?unit=1", "every": "250ms"}
        for i, port in enumerate(ports)
    ]
    return [{"id": "pm", "profile": "plantower.pms5003", "at": f"serial:{folder / 'pm.tty'}", "every": "1s"}, *meters]


class Field:
    """One gateway; `shake` does the faults one after another, `settle` compares outbox and front."""

    def __init__(self, net: Network, proxy: Proxy, folder: Path, *, name: str = "lagos-01") -> None:
        self.net, self.proxy = net, proxy
        sensors = devices(folder)
        net.simulate(sensors)
        hub = {"mqtt": [f"mqtt://127.0.0.1:{proxy.port}"], "credential": str(folder / name / "credential")}
        self.gateway = net.add(name, sensors, hub=hub, link={"mode": "open", "flush": "1s", "keepalive": "5s"})
        self.told: list[str] = []
        wait_until(lambda: len(net.front(name)) > 5, "first rows in the front", 30)

    def faults(self) -> dict[str, Callable[[Random], None]]:
        net, proxy, edge = self.net, self.proxy, self.gateway.program
        return {
            "daemon killed": lambda _: self.again(edge.kill, edge.start),
            "daemon frozen": lambda r: self.frozen(edge, r.uniform(0.5, 4)),
            "hub killed": lambda _: self.again(net.hub.kill, net.start_hub),
            "hub frozen": lambda r: self.frozen(net.hub, r.uniform(0.5, 4)),
            "broker killed": lambda r: self.again(net.broker.kill, net.broker.start, r.uniform(0, 2)),
            "broker frozen": lambda r: self.again(net.broker.freeze, net.broker.thaw, r.uniform(0.5, 4)),
            "reset": lambda _: proxy.reset(),
            "half-open": lambda r: self.linked(Fault(hold=True), r.uniform(2, 9)),
            "slow": lambda r: self.linked(Fault(rate=r.choice((300, 2000))), r.uniform(1, 4)),
            "late": lambda r: self.linked(Fault(delay_s=0.5), r.uniform(1, 4)),
            "single bytes": lambda r: self.linked(Fault(single=True), r.uniform(0.5, 2)),
            "cut after n bytes": lambda r: self.linked(Fault(cut_after=r.randrange(1, 3000)), r.uniform(1, 4)),
            "flipped bits": lambda r: self.linked(Fault(flips=0.3), r.uniform(1, 3), reset=True),
        }

    def shake(self, rounds: int, seed: int, tell: Callable[[str], None] = lambda _: None) -> None:
        """So many faults, each kind about equally often."""
        chance, faults = Random(seed), self.faults()
        drawn = [name for _ in range(rounds // len(faults) + 1) for name in chance.sample(sorted(faults), len(faults))]
        for name in drawn[:rounds]:
            tell(name)
            self.told.append(name)
            faults[name](chance)
            time.sleep(chance.uniform(0.1, 1.0))

    def settle(self) -> int:
        """Every row of the card is in the front, once; how many there are."""
        self.proxy.fault = NONE
        settled(self.net, self.gateway, HEAL_S)
        return len(self.net.front(self.gateway.name))

    def again(self, stop: Callable[[], object], start: Callable[[], object], after_s: float = 0.0) -> None:
        stop()
        time.sleep(after_s)
        start()

    def frozen(self, program: Program, for_s: float) -> None:
        assert program.process is not None
        pid = program.process.pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(for_s)
        os.kill(pid, signal.SIGCONT)

    def linked(self, fault: Fault, for_s: float, *, reset: bool = False) -> None:
        """The link does this for a while. Flipped bits end with a reset: what a client asked for may have been something else."""
        self.proxy.fault = fault
        time.sleep(for_s)
        self.proxy.fault = NONE
        if reset:
            self.proxy.reset()
