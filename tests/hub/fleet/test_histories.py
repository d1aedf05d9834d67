"""Where a sensor stood and which one answered to a name: moves and swaps, backlogs that come late, two changes at once."""

import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, insert, select

from hub.database import tables
from hub.database.engine import Database, open_database
from hub.fleet.deployments import move
from hub.fleet.sites import change_station, give, standing_sensors
from hub.fleet.swaps import Described, take_over
from hub.followers.runner import Followers, rebuild
from hub.front.log import Front
from hub.problems import Problem
from hub.settings import Settings
from tests.hub.field import START_MS, Gateway, content, enrol, store

MINUTE_MS = 60_000
SITE = {"name": "gate", "lat": 6.5, "lon": 3.4}


class Hub:
    """A database fed as a bridge would feed it."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.front = Front(database)
        self.followers = Followers(database, Settings(data_dir=folder))

    def feed(self, gateway: Gateway, lo: int = 1, hi: int | None = None) -> None:
        store(self.front, gateway.came(lo, hi))
        self.followers.catch_up()

    def station(self, name: str, network: int = 1, **more: Any) -> int:
        with self.database.write() as connection:
            made = connection.execute(
                insert(tables.station).values(network=network, name=name, **more).returning(tables.station.c.id)
            )
            return int(made.scalar_one())

    def move(self, station: int, minute: int, sensors: tuple[int, ...] = (1,)) -> None:
        with self.database.write() as connection:
            move(connection, sensors, station, at(minute))

    def swap(self, sensor: int, minute: int) -> int:
        with self.database.write() as connection:
            return take_over(connection, sensor, Described(serial="P-2"), at(minute))

    def places(self, sensor: int = 1) -> list[tuple[int, int | None, int]]:
        """(from, to [minutes], station)."""
        with self.database.read() as connection:
            return places(connection, sensor)

    def minutes(self, sensor: int) -> list[int]:
        """Of the stored samples."""
        row = tables.sample.c
        with self.database.read() as connection:
            times = connection.execute(select(row.time_ms).where(row.sensor == sensor).order_by(row.time_ms)).scalars()
            return [(time - START_MS) // MINUTE_MS for time in times]


def at(minute: int) -> int:
    return START_MS + minute * MINUTE_MS


def places(connection: Connection, sensor: int) -> list[tuple[int, int | None, int]]:
    row = tables.deployment.c
    asked = select(row.from_ms, row.to_ms, row.station).where(row.sensor == sensor).order_by(row.from_ms)
    return [
        ((a - START_MS) // MINUTE_MS, None if b is None else (b - START_MS) // MINUTE_MS, station)
        for a, b, station in connection.execute(asked)
    ]


@pytest.fixture
def hub(database_url: str, tmp_path: Path) -> Iterator[Hub]:
    opened = open_database(database_url)
    yield Hub(opened, tmp_path)
    opened.close()


@pytest.fixture
def gateway(hub: Hub) -> Gateway:
    """Started at the gate, a sample a minute, the rows 3 to 12 (minutes 0 to 9) not sent yet."""
    enrol(hub.database, "demo-01")
    made = Gateway()
    made.start(SITE)
    made.schema()
    for minute in range(10):
        made.sample([minute, 1, 1], at(minute))
    return made


def restart(gateway: Gateway, minute: int, site: dict[str, Any], stream: str) -> Gateway:
    """The same daemon after a restart, a sample in that minute."""
    made = Gateway(gateway.name, stream=stream)
    made.start(site, at_ms=at(minute))
    made.schema()
    made.sample([minute, 1, 1], at(minute))
    return made


def test_a_moved_sensor_stays_where_people_moved_it_until_its_file_names_another_place(hub: Hub, gateway: Gateway) -> None:
    hub.feed(gateway)
    yard = hub.station("yard")
    hub.move(yard, 5)
    assert hub.places() == [(0, 5, 1), (5, None, yard)]
    hub.feed(restart(gateway, 20, SITE, "00000000000000b2"))
    assert hub.places() == [(0, 5, 1), (5, None, yard)]
    hub.feed(restart(gateway, 30, {"name": "roof"}, "00000000000000c3"))
    assert hub.places() == [(0, 5, 1), (5, 30, yard), (30, None, yard + 1)]


def test_a_new_sensor_of_a_moved_gateway_stands_where_the_others_were_moved_to(hub: Hub, gateway: Gateway) -> None:
    hub.feed(gateway)
    yard = hub.station("yard")
    hub.move(yard, 5)
    later = restart(gateway, 20, SITE, "00000000000000b2")
    later.schema("co2")
    hub.feed(later)
    assert hub.places(2) == [(20, None, yard)]


def test_a_backlog_from_before_the_move_changes_no_place(hub: Hub, gateway: Gateway) -> None:
    hub.feed(restart(gateway, 20, SITE, "00000000000000b2"))
    yard = hub.station("yard")
    hub.move(yard, 25)
    hub.feed(gateway)
    assert hub.places() == [(0, 25, 1), (25, None, yard)]


@pytest.mark.parametrize("minute", [4, 0])
def test_a_move_before_the_newest_change_is_refused_and_changes_nothing(hub: Hub, gateway: Gateway, minute: int) -> None:
    hub.feed(gateway)
    yard, roof = hub.station("yard"), hub.station("roof")
    hub.move(yard, 5)
    with pytest.raises(Problem, match="overlap"):
        hub.move(roof, minute)
    assert hub.places() == [(0, 5, 1), (5, None, yard)]
    hub.move(roof, 5)  # at the same time: it was a mistake
    assert hub.places() == [(0, 5, 1), (5, None, roof)]


def test_a_station_that_people_renamed_is_not_made_a_second_time(hub: Hub, gateway: Gateway) -> None:
    hub.feed(gateway)
    with hub.database.write() as connection:
        row = connection.execute(select(tables.station)).one()
        assert change_station(connection, row, {"name": "main gate"}) == {"name": "main gate"}
    hub.feed(restart(gateway, 20, SITE, "00000000000000b2"))
    assert hub.places() == [(0, None, 1)]


def test_after_a_swap_each_row_goes_to_the_sensor_of_its_time_whenever_it_comes(hub: Hub, gateway: Gateway) -> None:
    hub.feed(gateway, 1, 4)  # minutes 0 and 1 came before
    new = hub.swap(1, 5)
    hub.feed(gateway, 9)  # minutes 6 to 9 first, then the backlog across the swap
    hub.feed(gateway, 5, 8)
    assert (hub.minutes(1), hub.minutes(new)) == ([0, 1, 2, 3, 4], [5, 6, 7, 8, 9])
    assert (hub.places(1), hub.places(new)) == ([(0, 5, 1)], [(5, None, 1)])
    hub.feed(restart(gateway, 20, SITE, "00000000000000b2"))
    assert (hub.minutes(1)[-1], hub.minutes(new)[-1]) == (4, 20)
    assert (hub.places(1), hub.places(new)) == ([(0, 5, 1)], [(5, None, 1)])


def test_samples_that_came_before_a_swap_was_told_change_hands_as_a_rebuild_says(hub: Hub, gateway: Gateway) -> None:
    hub.feed(gateway)
    new = hub.swap(1, 5)
    newer = hub.swap(new, 8)
    assert (hub.minutes(1), hub.minutes(new), hub.minutes(newer)) == ([0, 1, 2, 3, 4], [5, 6, 7], [8, 9])
    kept = content(hub.database, "sample", "latest")
    names = {row[0]: row[3] for row in content(hub.database, "sensor")["sensor"]}
    assert names == {1: "pm~1", new: f"pm~{new}", newer: "pm"}
    for name in ("samples", "latest"):
        rebuild(hub.database, name)
    assert content(hub.database, "sample", "latest") == kept


def test_a_swap_before_the_last_one_or_of_a_replaced_sensor_is_refused(hub: Hub, gateway: Gateway) -> None:
    hub.feed(gateway)
    new = hub.swap(1, 5)
    for sensor, minute in ((new, 5), (new, 4), (1, 7)):
        with pytest.raises(Problem):
            hub.swap(sensor, minute)
    assert len(content(hub.database, "swap")["swap"]) == 1


def test_a_swap_after_a_move_takes_the_newer_places_along(hub: Hub, gateway: Gateway) -> None:
    hub.feed(gateway)
    yard = hub.station("yard")
    hub.move(yard, 7)
    new = hub.swap(1, 5)
    assert (hub.places(1), hub.places(new)) == ([(0, 5, 1)], [(5, 7, 1), (7, None, yard)])


def test_a_gateway_given_to_another_network_leaves_its_history_behind(hub: Hub, gateway: Gateway) -> None:
    hub.feed(restart(gateway, 20, SITE, "00000000000000b2"))
    with hub.database.write() as connection:
        connection.execute(insert(tables.network).values(slug="other", name="Other", visibility="private"))
        row = connection.execute(select(tables.gateway)).one()
        assert give(connection, row, 2) == 1
        assert standing_sensors(connection, row.id) == [1]
    hub.feed(gateway)  # a backlog of the time before
    places = [(station, to is None) for _, to, station in hub.places()]
    assert places == [(1, False), (2, True)]
    stations = {row[0]: (row[1], row[7]) for row in content(hub.database, "station")["station"]}
    assert stations == {1: (1, "public"), 2: (2, "private")}


def test_two_changes_at_once_leave_a_history_without_overlaps(hub: Hub, gateway: Gateway) -> None:
    hub.feed(gateway)
    stations = [hub.station(f"s{n}") for n in range(4)]
    ready = threading.Barrier(5)
    refused: list[Problem] = []

    def change(n: int) -> None:
        ready.wait()
        try:
            if n == 4:
                hub.swap(1, 30)
            else:
                hub.move(stations[n], 20 + n)
        except Problem as error:
            refused.append(error)

    threads = [threading.Thread(target=change, args=(n,)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    for sensor in (1, 2):
        rows = hub.places(sensor)
        assert all(to is not None and to <= later[0] for (_, to, _), later in pairwise(rows)), rows
    with hub.database.read() as connection:
        row = tables.deployment.c
        assert connection.execute(select(row.sensor).where(row.to_ms.is_(None))).scalars().all() == [2], "one stands there"
