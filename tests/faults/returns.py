"""Days offline, then back: cards filled in bulk, a real broker and hub; what was lost, and how long the newest rows took, out."""

import sqlite3
import time
from pathlib import Path

import msgspec
from msgspec import Struct

from hub.auth.secrets import hub_secret
from hub.database.engine import open_database
from hub.fleet.enrolment import invite, redeem
from readings.ranges import Ranges
from tests.e2e.network import Network
from tests.faults.crowd import Crowd, Key, Station

DAY_S = 86_400


class Return(Struct, frozen=True):
    """`newest_s`: until 99 % of the gateways' newest rows were in the front. `grown_kb`: this process's memory."""

    gateways: int
    rows: int
    held: int
    newest_s: float
    all_s: float
    grown_kb: int
    broker_drops: int

    @property
    def good(self) -> bool:
        return self.held == self.rows and self.broker_drops == 0


def enrol(net: Network, names: list[str]) -> list[Key]:
    """Credentials, straight from the hub's own enrolment, without a process for each."""
    database = open_database(net.database_url)
    secret = hub_secret(net.folder / "hub")
    keys = []
    for name in names:
        made = redeem(database, invite(database, name), secret=secret, broker_dir=net.folder / "broker")
        keys.append(Key(made.gateway, made.password, bytes.fromhex(made.key)))
    database.close()
    net.broker.reload()
    return keys


def come_back(folder: Path, *, gateways: int, days: float, every_s: int, timeout_s: float) -> Return:
    """So many gateways with so many days of one sample each `every_s` come back at once, over one broker and hub."""
    with Network(folder) as net:
        keys = enrol(net, [f"gw-{i:04d}" for i in range(gateways)])
        stations = [Station(folder / "cards" / key.gateway, key, net.env["MQTT_URL"]) for key in keys]
        for station in stations:
            station.make(int(days * DAY_S / every_s), every_s=every_s)
        before_kb = _memory_kb("VmRSS")
        crowd = Crowd(stations)
        begun = time.monotonic()
        newest = {station.key.gateway: station.fresh() for station in stations}
        crowd.start()
        try:
            crowd.run(lambda: _reached(net, newest) >= 0.99 * gateways, timeout_s)
            newest_s = time.monotonic() - begun
            crowd.run(lambda: not any(station.pending for station in stations), timeout_s)
            all_s = time.monotonic() - begun
            grown_kb = _memory_kb("VmRSS") - before_kb
            rows = sum(hi for station in stations for _, _, hi in station.outbox.streams())
        finally:
            crowd.stop()
        return Return(gateways, rows, sum(map(len, _held(net).values())), newest_s, all_s, grown_kb, _drops(net))


def _held(net: Network) -> dict[tuple[str, str], Ranges]:
    with net.database() as db:
        found = db.execute("SELECT g.name, h.stream, h.ranges FROM held h JOIN gateway g ON g.id = h.gateway").fetchall()
    return {(name, stream): Ranges(msgspec.json.decode(text or "[]")) for name, stream, text in found}


def _reached(net: Network, newest: dict[str, tuple[str, int]]) -> int:
    try:
        held = _held(net)
    except sqlite3.OperationalError:  # the hub is at work; asked again in half a second
        return 0
    return sum(seq in held.get((name, stream), Ranges()) for name, (stream, seq) in newest.items())


def _drops(net: Network) -> int:
    """What mosquitto says when a queue overflows."""
    return net.broker.log.read_text(errors="replace").count("being dropped")


def _memory_kb(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))
