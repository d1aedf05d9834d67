"""A folder in; a running network out: broker, hub, simulator and six gateways, all real, until Ctrl-C or, with --once, a table.

Everything it keeps is in the folder: `demo.json` says where things are, `logs/` what each process said.
"""

import json
import os
import shutil
import signal
import socket
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import click

from scripts.children import Child, Children, Ended, output_of
from scripts.claim import check_port, free_port, locked, say
from scripts.lagos import Gateway, write
from scripts.table import readings, table

BIN = Path(sys.executable).parent
DEFAULT_DIR = Path("~/.cache/harmattan/demo")
START_S = 60.0
READINGS_S = 120.0


class Interrupted(Exception):
    """Ctrl-C or TERM."""


class Demo:
    """The parts of one running demo. `start` brings them up in the order in which they need each other."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port = folder, port
        self.children = Children()
        self.gateways: list[Gateway] = []
        self.token = self.viewer = ""
        self.mqtt_port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.mqtt_url = f"mqtt://127.0.0.1:{self.mqtt_port}"
        self._passwords_seen = 0
        self.env = {
            "DATA_DIR": str(folder / "hub"),
            "BROKER_DIR": str(folder / "broker"),
            "HTTP_BIND": f"127.0.0.1:{port}",
            "METRICS_BIND": f"127.0.0.1:{free_port()}",
            "MQTT_URL": self.mqtt_url,
        }

    def start(self) -> None:
        """Raises Ended with the reason when a part does not come up."""
        self.viewer = self._write_broker()
        self._start_broker()
        self._start_hub()
        self.token = output_of([str(BIN / "harmattan-hub"), "token", "--role", "admin", "--for", "24h"], self.env).strip()
        self.gateways = write(self.folder, self.mqtt_url, free_port(), free_port())
        self._start_simulator()
        for gateway in self.gateways:
            self._enrol(gateway)
        for gateway in self.gateways:
            command = [str(BIN / "harmattan-edge"), "run", str(gateway.config)]
            self.children.start(Child(gateway.name, command, self._log(gateway.name)))
        self.describe()

    def tend(self) -> None:
        """One round of watching: who died is started again, a changed passwords file is told to the broker."""
        again = self.children.tend()
        for name, code in again.items():
            say(f"{name} ended with {code} and is started again; what it said is in {self._log(name)}")
        self._tell_broker()
        if again:
            self.describe()

    def describe(self) -> None:
        """Writes demo.json, whole or not at all."""
        told = {
            "pid": os.getpid(),
            "url": self.url,
            "mqtt": self.mqtt_url,
            "token": self.token,
            "viewer": self.viewer,
            "pids": self.children.pids(),
            "gateways": [
                {"name": g.name, "config": str(g.config), "store": str(g.store), "socket": str(g.socket)} for g in self.gateways
            ],
        }
        fresh = self.folder / ".demo.json"
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(told, indent=1) + "\n")
        fresh.replace(self.folder / "demo.json")

    def _log(self, name: str) -> Path:
        return self.folder / "logs" / f"{name}.log"

    def _write_broker(self) -> str:
        """The viewer's password: told once by `broker`, then kept in a file of its own."""
        kept = self.folder / "viewer"
        known = kept.read_text().strip() if kept.exists() else ""
        command = [str(BIN / "harmattan-hub"), "broker", str(self.folder / "broker"), "--port", str(self.mqtt_port), "--json"]
        told = json.loads(output_of([*command, *([] if known else ["--new-viewer"])], self.env))
        if not known:
            known = str(told["viewer"])
            kept.touch(mode=0o600)
            kept.write_text(known + "\n")
        return known

    def _start_broker(self) -> None:
        command = [mosquitto(), "-c", str(self.folder / "broker" / "mosquitto.conf")]
        broker = self.children.start(Child("broker", command, self._log("broker")))
        self._passwords_seen = self._passwords_changed()
        broker.wait_until(lambda: listens(self.mqtt_port), START_S, f"no answer on port {self.mqtt_port}")

    def _start_hub(self) -> None:
        hub = self.children.start(Child("hub", [str(BIN / "harmattan-hub"), "run"], self._log("hub"), self.env))
        hub.wait_until(lambda: answers(f"{self.url}/health"), START_S, f"no answer at {self.url}/health")

    def _start_simulator(self) -> None:
        log = self.folder / "simulate.ndjson"
        command = [str(BIN / "harmattan-edge"), "simulate", str(self.folder / "network.yaml"), "--log", str(log)]
        output = self._log("simulate")
        output.write_bytes(b"")
        simulator = self.children.start(Child("simulate", command, output))
        simulator.wait_until(lambda: b"ready" in output.read_bytes().split(), START_S, "not ready")

    def _enrol(self, gateway: Gateway) -> None:
        """A gateway that is new trades a one-time token for its credential, as it would in the field."""
        if gateway.credential.exists():
            return
        hub = str(BIN / "harmattan-hub")
        enrol = [hub, "gateway", "enrol", gateway.name, "--visibility", "public", "--json"]
        try:
            ticket = json.loads(output_of(enrol, self.env))
        except Ended as refused:
            if "enrolled already" not in str(refused):
                raise
            # An earlier demo was killed after the hub had enrolled it and before its credential was written.
            output_of([hub, "gateway", "revoke", gateway.name], self.env)
            ticket = json.loads(output_of(enrol, self.env))
        output_of([str(BIN / "harmattan-edge"), "enrol", self.url, ticket["token"], "--out", str(gateway.credential)], {})
        self._tell_broker()

    def _passwords_changed(self) -> int:
        try:
            return (self.folder / "broker" / "passwords").stat().st_mtime_ns
        except OSError:
            return 0

    def _tell_broker(self) -> None:
        """mosquitto reads its accounts again on HUP."""
        changed = self._passwords_changed()
        if changed != self._passwords_seen:
            self._passwords_seen = changed
            self.children.signal("broker", signal.SIGHUP)


def mosquitto() -> str:
    """Its path. Raises Ended when there is none."""
    program = shutil.which("mosquitto")
    if program is None:
        raise Ended("mosquitto is not installed; run scripts/setup demo")
    return program


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:  # noqa: S310  # our own hub
            return bool(response.status == 200)
    except OSError:
        return False


def expected(gateways: Sequence[Gateway]) -> set[str]:
    return {f"{gateway.name}/{sensor}" for gateway in gateways for sensor in gateway.sensors}


def first_readings(demo: Demo, begun: float) -> list[list[str]]:
    """The table of `--once`, as soon as each sensor of each station has a reading of this run stored. Raises Ended."""
    wanted, deadline = expected(demo.gateways), time.monotonic() + READINGS_S
    while True:
        rows: list[list[str]] = []
        try:
            rows = readings(demo.url, begun * 1000)
        except (OSError, ValueError) as error:  # the hub was started again just now
            say(f"the hub does not answer: {error}")
        there = {row[1] for row in rows}
        if wanted <= there:
            return rows
        if time.monotonic() > deadline:
            raise Ended(
                f"no stored reading within {READINGS_S:g} s of {', '.join(sorted(wanted - there))}; see {demo.folder}/logs"
            )
        demo.tend()
        time.sleep(0.25)


def introduction(demo: Demo) -> str:
    offered = demo.folder / "hub" / "setup-token"
    sign_in = f"{demo.url}/#/setup?token={offered.read_text().strip()}" if offered.exists() else f"{demo.url}/signin"
    return f"""
Harmattan: {len(demo.gateways)} stations of an invented network in Lagos, all on this machine.
  page    {demo.url}/
  sign in {sign_in}
  API     {demo.url}/api-docs
  token   {demo.token}   (admin, 24 h)
  MQTT    {demo.mqtt_url}, user viewer, password {demo.viewer}, topics telemetry/#
  files   {demo.folder}
  try     {BIN / "harmattan-edge"} status --config {demo.gateways[0].config}
Ctrl-C stops everything; what was stored is kept for the next time.
"""


def run(folder: Path, port: int, once: bool) -> None:
    """Raises Ended with the reason, Interrupted on Ctrl-C; no child outlives it."""
    mosquitto()
    check_port(port)
    begun, clock = time.time(), time.monotonic()
    with locked(folder):
        demo = Demo(folder, port)
        try:
            say("starting broker, hub, simulated sensors and six gateways")
            demo.start()
            if once:
                rows = first_readings(demo, begun)
                print(table(rows))
                seconds = time.monotonic() - clock
                print(f"{len(demo.gateways)} stations, {len(rows)} sensors; first readings stored after {seconds:.1f} s")
                return
            print(introduction(demo), flush=True)
            while True:
                demo.tend()
                time.sleep(0.2)
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)  # the second Ctrl-C must not leave half of them running
            demo.children.stop()
            if (folder / "demo.json").exists():
                demo.describe()


def interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted


@click.command()
@click.option("--once", is_flag=True, help="Return when every station has a stored reading, with a table of them.")
@click.option("--port", default=8000, show_default=True, type=click.IntRange(0, 65535), help="Of the page; 0: any free one.")
@click.option("--dir", "folder", default=str(DEFAULT_DIR), show_default=True, help="What the demo keeps.")
def main(once: bool, port: int, folder: str) -> None:
    """A whole network on this machine: broker, hub, six gateways with simulated sensors, and the live page."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        run(Path(folder).expanduser().absolute(), port or free_port(), once)
    except Ended as ended:
        say(str(ended))
        sys.exit(1)
    except Interrupted:
        say("stopped" if not once else "interrupted")
        sys.exit(1 if once else 0)


if __name__ == "__main__":
    main()
