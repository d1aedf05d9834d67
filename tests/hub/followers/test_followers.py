"""The followers: what they make of the log, and that a rebuild makes it again byte for byte."""

import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from sqlalchemy import insert, text

from hub.database import tables
from hub.database.engine import Database
from hub.fleet.visibility import hidden_gateways
from hub.followers.judge import AHEAD_MS
from hub.followers.runner import NAMES, Followers, mark, rebuild, watch
from hub.front import cursor
from hub.front.log import Front, Incoming
from hub.settings import load
from readings.batch import seal_header
from readings.errors import Retry, Stop
from tests.hub.field import START_MS, Gateway, content, enrol, store

HOUR_MS = 3_600_000
RESULTS = ("sample", "sample_before", "latest", "view_error")


class Papers:
    """An outlet that keeps the newest message of each topic, as a broker does."""

    def __init__(self) -> None:
        self.connections = 1
        self.retained: dict[str, dict[str, object]] = {}
        self.published = 0

    def publish(self, topic: str, payload: bytes) -> None:
        if not self.connections:
            raise Retry("cut")
        self.published += 1
        self.retained[topic] = msgspec.json.decode(payload)


class Hub:
    def __init__(self, database: Database, folder: Path) -> None:
        enrol(database, "demo-01", "demo-02")
        self.database = database
        self.front = Front(database)
        self.papers = Papers()
        self.followers = Followers(database, load({"DATA_DIR": str(folder)}), self.papers)

    def took(self, *messages: object) -> None:
        store(self.front, *messages)  # type: ignore[arg-type]
        self.followers.catch_up()

    def samples(self) -> list[tuple[object, ...]]:
        return content(self.database, "sample")["sample"]

    def latest(self) -> list[tuple[object, ...]]:
        return content(self.database, "latest")["latest"]


@pytest.fixture
def hub(database: Database, tmp_path: Path) -> Hub:
    return Hub(database, tmp_path)


@pytest.fixture
def gateway() -> Gateway:
    made = Gateway()
    made.start()
    made.schema()
    return made


def test_a_sample_becomes_one_row_with_its_values_unscaled(hub: Hub, gateway: Gateway) -> None:
    gateway.sample([12, 315, None], START_MS + 1000, flags=[1, 1, 9])
    gateway.sample([13, 320, 2155], START_MS + 2000)
    hub.took(gateway.came())
    assert hub.samples() == [
        (1, START_MS + 1000, 1, 3, 1, "[12,31.5,null]", "[1,1,9]", "[1,1,9]"),
        (1, START_MS + 2000, 1, 4, 1, "[13,32,21.55]", None, None),
    ]


def test_the_hub_judges_by_itself_and_keeps_the_edges_hints(hub: Hub, gateway: Gateway) -> None:
    gateway.sample([1500, 315, 9000], START_MS, flags=[1, 3, 1])
    gateway.sample([12, 315, 2000], START_MS + 1, flags=[1, 3, 1])
    hub.took(gateway.came())
    assert [row[6:] for row in hub.samples()] == [("[3,1,4]", "[1,3,1]"), (None, "[1,3,1]")]


def test_what_came_twice_is_stored_once(hub: Hub, gateway: Gateway) -> None:
    gateway.samples(20)
    hub.took(gateway.came(1, 15), gateway.came(1, 15), gateway.came(10, 22), gateway.came(1, 22))
    assert [row[3] for row in hub.samples()] == list(range(3, 23))


def test_newest_first_and_backlog_later_gives_the_same_samples(hub: Hub, gateway: Gateway) -> None:
    gateway.samples(20)
    hub.took(gateway.came(2, 2), gateway.came(18, 22))
    hub.took(gateway.came(3, 17), gateway.came(1, 1))
    assert [row[3] for row in hub.samples()] == list(range(3, 23))
    assert [row[1:4] for row in hub.latest()] == [(START_MS + 19_000, 1, 22)]


def test_latest_is_replaced_only_by_a_greater_time(hub: Hub, gateway: Gateway) -> None:
    gateway.sample([1, 1, 1], START_MS + 5000)
    gateway.sample([2, 2, 2], START_MS + 4000)
    gateway.sample([3, 3, 3], START_MS + 5000)
    for seq in (1, 2, 5, 4, 3):
        hub.took(gateway.came(seq, seq))
    (row,) = hub.latest()
    assert row[:6] == (1, START_MS + 5000, 1, 5, 1, "[3,0.3,0.03]")


def test_a_time_ahead_of_its_receipt_is_flagged_and_never_the_latest(hub: Hub, gateway: Gateway) -> None:
    received_ms = START_MS + HOUR_MS
    gateway.sample([1, 1, 1], received_ms + AHEAD_MS)
    gateway.sample([2, 2, 2], received_ms + AHEAD_MS + 1)
    hub.took(gateway.came(received_ms=received_ms))
    assert [row[6] for row in hub.samples()] == [None, "[4,4,4]"]
    assert [row[3] for row in hub.latest()] == [3]


def test_a_sensor_that_falls_silent_keeps_its_values_with_flags_9(hub: Hub, gateway: Gateway) -> None:
    gateway.sample([1, 1, 1], START_MS + 1000)
    gateway.event("sensor_state", {"state": "no_answer"}, START_MS + 2000, "pm")
    hub.took(gateway.came())
    (row,) = hub.latest()
    assert (row[1], row[5], row[6]) == (START_MS + 1000, "[1,0.1,0.01]", "[9,9,9]")
    gateway.event("sensor_state", {"state": "ok"}, START_MS + 3000, "pm")
    gateway.sample([2, 2, 2], START_MS + 3000)
    hub.took(gateway.came(5))
    assert hub.latest()[0][5:7] == ("[2,0.2,0.02]", None)


def test_an_older_silence_that_arrives_late_changes_nothing(hub: Hub, gateway: Gateway) -> None:
    gateway.event("sensor_state", {"state": "no_answer"}, START_MS + 2000, "pm")
    gateway.sample([1, 1, 1], START_MS + 3000)
    gateway.sample([1, 1, 1], START_MS + 1000)
    hub.took(gateway.came(1, 2), gateway.came(4, 4), gateway.came(3, 3), gateway.came(5, 5))
    assert hub.latest()[0][1] == START_MS + 3000
    assert hub.latest()[0][6] is None


def test_backlog_older_than_a_silence_stays_silent(hub: Hub, gateway: Gateway) -> None:
    gateway.sample([1, 1, 1], START_MS + 1000)
    gateway.sample([2, 2, 2], START_MS + 2000)
    gateway.event("sensor_state", {"state": "unplugged"}, START_MS + 3000, "pm")
    hub.took(gateway.came(1, 3), gateway.came(5, 5), gateway.came(4, 4))
    assert hub.latest()[0][5:7] == ("[2,0.2,0.02]", "[9,9,9]")


def test_samples_that_were_sent_row_by_row_are_stored_alike(hub: Hub, gateway: Gateway) -> None:
    gateway.sample([1 << 60, 315, 2150], START_MS)
    gateway.sample([12, 315, 2150], START_MS + 1)
    hub.took(gateway.came())
    assert [row[5:7] for row in hub.samples()] == [(f"[{1 << 60},31.5,21.5]", "[4,1,1]"), ("[12,31.5,21.5]", None)]


def test_a_number_that_arithmetic_refuses_is_counted_and_the_others_are_stored(hub: Hub, gateway: Gateway) -> None:
    """Python writes no integer of more than 4,300 digits: the last of twelve differences of 4,299 digits go beyond."""
    column = ",".join(["9" * 4299] * 12)
    zeros = ",".join(["0"] * 11)
    walls = ",".join([str(START_MS), *["1"] * 11])
    nulls = ",".join(["null"] * 12)
    group = f"[0,[{nulls}],[{walls}],1,[[{column}],[315,{zeros}],[2150,{zeros}]],[[[1,1,1],12]]]"
    body = f'[[["sample","pm",2,"b","synced"]],[{",".join(["0"] * 12)}],[{group}]]'.encode()
    hub.took(gateway.came(), Incoming("demo-01", seal_header(gateway.stream, 3, 12, zlib.compress(body)), START_MS + HOUR_MS))
    assert [row[3] for row in hub.samples()] == list(range(3, 13))
    assert [row[:3] for row in content(hub.database, "view_error")["view_error"]] == [("samples", 2, 13), ("samples", 2, 14)]
    assert hub.followers.state()["ok"]


def test_telemetry_says_what_latest_holds_with_units_and_flags(hub: Hub, gateway: Gateway) -> None:
    gateway.sample([12, 315, None], START_MS, flags=[1, 1, 9])
    hub.took(gateway.came())
    assert hub.papers.retained == {
        "telemetry/demo-01/pm": {
            "time": "2025-11-24T16:00:00.000Z",
            "values": {"pm2_5": 12, "pm10": 31.5, "temperature": None},
            "units": {"pm2_5": "ug/m3", "pm10": "ug/m3", "temperature": "degC"},
            "flags": {"pm2_5": 1, "pm10": 1, "temperature": 9},
        }
    }


def test_a_broker_that_came_back_is_told_all_sensors_again(hub: Hub, gateway: Gateway) -> None:
    gateway.samples(3)
    other = Gateway("demo-02", "00000000000000b1")
    other.start()
    other.schema("box")
    other.samples(3, "box")
    hub.took(gateway.came(), other.came())
    hub.papers.connections = 0
    gateway.samples(1, from_ms=START_MS + 60_000)
    hub.took(gateway.came(6))
    hub.papers.retained.clear()
    hub.papers.connections = 2
    hub.followers.catch_up()
    assert sorted(hub.papers.retained) == ["telemetry/demo-01/pm", "telemetry/demo-02/box"]
    assert hub.papers.retained["telemetry/demo-01/pm"]["time"] == "2025-11-24T16:01:00.000Z"


def test_what_stands_at_a_private_station_is_told_to_nobody(hub: Hub, gateway: Gateway) -> None:
    with hub.database.write() as connection:
        connection.execute(insert(tables.meta).values(key="visibility/1", value="private"))
        assert hidden_gateways(connection) == {"demo-01"}, "before its station is made"
    gateway.samples(2)
    other = Gateway("demo-02", "00000000000000b1")
    other.start()
    other.schema("box")
    other.samples(1, "box")
    hub.took(gateway.came(), other.came())
    assert len(hub.samples()) == 3
    assert list(hub.papers.retained) == ["telemetry/demo-02/box"]
    with hub.database.read() as connection:
        assert hidden_gateways(connection) == {"demo-01"}


def test_a_silence_is_told_in_telemetry(hub: Hub, gateway: Gateway) -> None:
    gateway.samples(1)
    hub.took(gateway.came())
    gateway.event("sensor_state", {"state": "unplugged"}, START_MS + 2000, "pm")
    hub.took(gateway.came(4))
    assert hub.papers.retained["telemetry/demo-01/pm"]["flags"] == {"pm2_5": 9, "pm10": 9, "temperature": 9}


def busy_life(hub: Hub) -> None:
    """A bit of everything: two gateways, waiting rows, overlaps, silences, odd flags, a sample from the future."""
    gateway, other = Gateway(), Gateway("demo-02", "00000000000000b1")
    for one in (gateway, other):
        one.start()
        one.schema()
        one.samples(50)
        one.event("sensor_state", {"state": "garbage"}, START_MS + 51_000, "pm")
        one.sample([None, 99_999, 2000], START_MS + 52_000, flags=[9, 3, 1])
        one.sample([1, 2, 3], START_MS + 5 * HOUR_MS)
        one.samples(50, from_ms=START_MS + 60_000)
    hub.took(gateway.came(40, 70), gateway.came(1, 60), other.came())
    hub.took(gateway.came(55, 105), gateway.came(80, 90))


@pytest.mark.parametrize("name", ["samples", "latest"])
def test_a_rebuild_gives_the_same_rows_byte_for_byte(hub: Hub, name: str) -> None:
    busy_life(hub)
    before = content(hub.database, *RESULTS)
    assert len(before["sample"]) == 204
    seen: list[tuple[int, int]] = []
    followed = rebuild(hub.database, name, lambda at, end: seen.append((at, end)))
    assert content(hub.database, *RESULTS) == before
    assert seen[-1] == (followed, followed)


@pytest.mark.parametrize("name", ["samples", "latest"])
def test_a_marked_cursor_makes_the_running_follower_begin_again(hub: Hub, name: str) -> None:
    busy_life(hub)
    before = content(hub.database, *RESULTS)
    with hub.database.write() as connection:
        connection.execute(text("DELETE FROM sample WHERE seq = 7"))
        connection.execute(text("DELETE FROM latest"))
    mark(hub.database, "samples")
    mark(hub.database, "latest")
    hub.followers.catch_up()
    assert content(hub.database, *RESULTS) == before
    seen: list[tuple[int, int]] = []
    watch(hub.database, name, lambda at, end: seen.append((at, end)))
    assert seen[0][0] == seen[0][1]


def test_a_running_hub_takes_up_a_rebuild_and_its_progress_is_told(one_database: Database, tmp_path: Path) -> None:
    hub = Hub(one_database, tmp_path)
    busy_life(hub)
    before = content(hub.database, *RESULTS)
    stop = threading.Event()
    thread = threading.Thread(target=hub.followers.run, args=(stop,))
    thread.start()
    seen: list[tuple[int, int]] = []
    assert rebuild(hub.database, "samples", lambda at, end: seen.append((at, end)), pickup_s=20)
    stop.set()
    thread.join()
    assert seen[-1][0] == seen[-1][1] > 0
    assert content(hub.database, *RESULTS) == before


def test_a_rebuild_that_was_killed_goes_on_at_the_next_start(hub: Hub, tmp_path: Path) -> None:
    busy_life(hub)
    before = content(hub.database, *RESULTS)
    mark(hub.database, "samples")
    assert hub.followers.followers[1].step(), "wiped a part, then killed"
    Followers(hub.database, load({"DATA_DIR": str(tmp_path)}), Papers()).catch_up()
    assert content(hub.database, *RESULTS) == before


def test_settle_and_strangers_are_not_rebuilt(hub: Hub) -> None:
    for name in ("settle", "sample", ""):
        with pytest.raises(Stop, match="samples, latest, telemetry"):
            mark(hub.database, name)


def test_a_fresh_follower_of_an_old_log_ends_where_the_others_are(hub: Hub, tmp_path: Path) -> None:
    busy_life(hub)
    before = content(hub.database, *RESULTS)
    with hub.database.write() as connection:
        connection.execute(text("DELETE FROM sample"))
        connection.execute(text("DELETE FROM latest"))
        connection.execute(text("DELETE FROM cursor WHERE follower <> 'settle'"))
    Followers(hub.database, load({"DATA_DIR": str(tmp_path)}), Papers()).catch_up()
    assert content(hub.database, *RESULTS) == before


def test_a_cursor_never_runs_ahead_of_its_result(hub: Hub, gateway: Gateway) -> None:
    """The transaction of the samples fails: neither rows nor cursor have moved, and both do afterwards."""
    gateway.samples(5)
    store(hub.front, gateway.came())
    with hub.database.write() as connection:
        connection.execute(text("ALTER TABLE sample RENAME TO sample_away"))
    hub.followers.followers[0].step()
    with pytest.raises(Exception, match="sample"):
        hub.followers.followers[1].step()
    with hub.database.write() as connection:
        connection.execute(text("ALTER TABLE sample_away RENAME TO sample"))
        assert cursor.position(connection, "samples") == 0
    hub.followers.catch_up()
    assert len(hub.samples()) == 5


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_running_followers_wake_with_the_front_and_survive_one_that_fails(
    one_database: Database, tmp_path: Path, gateway: Gateway
) -> None:
    hub = Hub(one_database, tmp_path)
    stop = threading.Event()
    thread = threading.Thread(target=hub.followers.run, args=(stop,))
    thread.start()
    try:
        gateway.samples(5)
        hub.front.store([gateway.came(1, 4)])
        until(lambda: len(hub.samples()) == 2)
        assert hub.followers.state()["ok"]
        with hub.database.write() as connection:
            connection.execute(text("ALTER TABLE sample RENAME TO sample_away"))
        hub.front.store([gateway.came(5, 7)])
        until(lambda: hub.latest()[0][3] == 7)
        until(lambda: "samples" in hub.followers.state()["why"])
        with hub.database.write() as connection:
            connection.execute(text("ALTER TABLE sample_away RENAME TO sample"))
        until(lambda: len(hub.samples()) == 5 and hub.followers.state()["ok"])
        assert set(hub.followers.state()["lag"]) == {"settle", *NAMES}
    finally:
        stop.set()
        thread.join()
