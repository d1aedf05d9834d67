"""settle: sensor, schema, station and time by log order alone; what waits, what dies, what comes back."""

import json
from typing import Any

import pytest
from sqlalchemy import insert, select, text

from hub.database import tables
from hub.database.engine import Database
from hub.front.decoded import READERS, Decoded
from hub.front.log import Front, Incoming
from hub.front.settle import Settle
from hub.front.settling import dead_letters
from readings.batch import HEADER_BYTES, decode_blocks, encode, seal_header
from readings.ranges import Ranges
from readings.row import Row, schema_row
from readings.sample import Channel, Schema
from tests.hub.field import BOOT, START_MS, Gateway, content, enrol, store

LAGOS = {"name": "UNILAG gate", "lat": 6.5158, "lon": 3.3898, "alt_m": 12, "zone": "Africa/Lagos"}


@pytest.fixture
def front(database: Database) -> Front:
    enrol(database, "demo-01", "demo-02")
    return Front(database)


@pytest.fixture
def gateway() -> Gateway:
    made = Gateway()
    made.start(LAGOS)
    made.schema()
    made.samples(10)
    return made


def settle(database: Database) -> None:
    follower = Settle(database, Decoded())
    while follower.step():
        pass
    assert follower.lag() == 0


def ready(database: Database) -> list[tuple[int, int, str | None]]:
    return [row[:3] for row in content(database, "ready")["ready"]]


def waiting(database: Database) -> list[tuple[int, str, str]]:
    """(batch, rows, why)."""
    return [row[3:] for row in content(database, "waiting")["waiting"]]


def test_a_batch_becomes_ready_as_a_whole(front: Front, gateway: Gateway) -> None:
    front.store([gateway.came()])
    settle(front.database)
    assert ready(front.database) == [(1, 1, None)]
    assert waiting(front.database) == []


def test_sensor_station_and_deployment_are_made_from_the_stream(front: Front, gateway: Gateway) -> None:
    front.store([gateway.came()])
    settle(front.database)
    found = content(front.database, "sensor", "station", "deployment", "schema", "channel")
    assert found["sensor"] == [(1, 1, 1, "pm", "plantower", "pms5003", None)]
    assert [row[:8] for row in found["station"]] == [(1, 1, "UNILAG gate", 6.5158, 3.3898, 12.0, "Africa/Lagos", "public")]
    assert found["deployment"] == [(1, START_MS, 1, None, None, None, None)]
    assert [row[:5] for row in found["schema"]] == [(1, 1, gateway.stream, 2, 1)]
    assert found["channel"] == [
        (1, 0, "pm2_5", "ug/m3", 0, True, 0),
        (1, 1, "pm10", "ug/m3", -1, True, 0),
        (1, 2, "temperature", "degC", -2, True, 0),
    ]


def test_a_site_without_a_name_is_a_station_of_the_gateways_name(front: Front) -> None:
    gateway = Gateway()
    gateway.start({"lat": 95, "lon": 3, "zone": 7, "alt_m": 10**400})
    gateway.schema()
    front.store([gateway.came()])
    settle(front.database)
    found = content(front.database, "station")["station"]
    assert [row[:8] for row in found] == [(1, 1, "demo-01", None, None, None, None, "public")]


def test_the_visibility_given_at_enrolment_becomes_the_stations(front: Front, gateway: Gateway) -> None:
    with front.database.write() as connection:
        connection.execute(insert(tables.meta).values(key="visibility/1", value="private"))
    front.store([gateway.came()])
    settle(front.database)
    assert content(front.database, "station")["station"][0][7] == "private"


def test_coordinates_are_set_once_and_other_ones_are_told(front: Front, gateway: Gateway) -> None:
    moved = Gateway(stream="00000000000000a2")
    moved.start({**LAGOS, "lat": 6.6})
    moved.schema()
    store(front, gateway.came(), moved.came(1, 2))
    settle(front.database)
    moved.schema("other")
    store(front, moved.came(3, 3))
    settle(front.database)
    assert content(front.database, "station")["station"][0][3] == 6.5158
    assert sorted(row[4] for row in content(front.database, "event")["event"]) == ["site_differs", "start", "start"]


def test_a_moved_gateway_keeps_its_history(front: Front, gateway: Gateway) -> None:
    moved = Gateway(stream="00000000000000a2")
    moved.start({"name": "Yaba", "lat": 6.51, "lon": 3.37}, at_ms=START_MS + 1000)
    moved.schema()
    store(front, gateway.came(), moved.came())
    settle(front.database)
    assert [row[:4] for row in content(front.database, "deployment")["deployment"]] == [
        (1, START_MS, 1, START_MS + 1000),
        (1, START_MS + 1000, 2, None),
    ]


def test_the_older_place_told_later_comes_before(front: Front, gateway: Gateway) -> None:
    moved = Gateway(stream="00000000000000a2")
    moved.start({"name": "Yaba"}, at_ms=START_MS + 1000)
    moved.schema()
    store(front, moved.came(), gateway.came())
    settle(front.database)
    stations = {row[0]: row[2] for row in content(front.database, "station")["station"]}
    assert [(row[1], stations[row[2]], row[3]) for row in content(front.database, "deployment")["deployment"]] == [
        (START_MS, "UNILAG gate", START_MS + 1000),
        (START_MS + 1000, "Yaba", None),
    ]


def test_a_start_row_that_comes_last_places_the_sensors(front: Front, gateway: Gateway) -> None:
    store(front, gateway.came(2, 2), gateway.came(9, 12))
    settle(front.database)
    assert content(front.database, "deployment")["deployment"] == []
    front.store([gateway.came(1, 1)])
    settle(front.database)
    assert content(front.database, "deployment")["deployment"] == [(1, START_MS, 1, None, None, None, None)]


def test_samples_wait_for_their_schema_and_follow_at_the_batch_that_brings_it(front: Front, gateway: Gateway) -> None:
    store(front, gateway.came(3, 6), gateway.came(7, 12), gateway.came(1, 1))
    settle(front.database)
    assert ready(front.database) == [(1, 3, None)]
    assert waiting(front.database) == [(1, "[[3,6]]", "schema 2"), (2, "[[7,12]]", "schema 2")]
    front.store([gateway.came(2, 2)])
    settle(front.database)
    assert ready(front.database) == [(1, 3, None), (2, 4, None), (3, 1, None), (4, 2, None)]
    assert waiting(front.database) == []


def test_in_one_commit_or_in_many_the_log_is_settled_alike(front: Front, gateway: Gateway) -> None:
    front.store([gateway.came(3, 6), gateway.came(2, 2), gateway.came(7, 12)])
    settle(front.database)
    assert ready(front.database) == [(1, 2, None), (2, 1, None), (3, 3, None)]


def test_only_the_taken_numbers_of_an_overlap_become_ready(front: Front, gateway: Gateway) -> None:
    store(front, gateway.came(1, 5), gateway.came(4, 12))
    settle(front.database)
    assert ready(front.database) == [(1, 1, None), (2, 2, "[[6,12]]")]


def test_samples_whose_schema_is_gone_are_dead_letters_until_it_comes_after_all(front: Front, gateway: Gateway) -> None:
    later = Gateway(stream="00000000000000a2")
    later.start(previous=(gateway.stream, 12))
    later.tombstone(gateway.stream, [[1, 2]])
    store(front, gateway.came(3, 6), later.came(), gateway.came(7, 12))
    settle(front.database)
    assert {(batch, why) for batch, _, why in waiting(front.database)} == {
        (1, "dead: schema 2 is gone"),
        (3, "dead: schema 2 is gone"),
    }
    with front.database.read() as connection:
        assert dead_letters(connection, 1) == 10
        assert connection.execute(select(tables.held.c.gone).where(tables.held.c.no == 1)).scalar() == "[[1,2]]"
    front.store([gateway.came(1, 2)])
    settle(front.database)
    assert waiting(front.database) == []
    assert ready(front.database)[-3:] == [(2, 4, None), (3, 1, None), (4, 3, None)]


def test_a_lost_start_row_leaves_the_sensors_at_the_gateways_station(front: Front, gateway: Gateway) -> None:
    later = Gateway(stream="00000000000000a2")
    later.start(LAGOS)
    later.schema("other")
    later.tombstone(gateway.stream, [[1, 1]])
    store(front, gateway.came(2, 12), later.came())
    settle(front.database)
    deployed = {row[0]: row[2] for row in content(front.database, "deployment")["deployment"]}
    assert deployed == {1: 1, 2: 1}


def test_a_body_that_cannot_be_read_is_a_dead_letter_and_blocks_nothing(front: Front, gateway: Gateway) -> None:
    poison = Incoming("demo-02", seal_header("00000000000000b1", 1, 3, b"poison"), START_MS)
    later = Incoming("demo-02", seal_header("00000000000000b1", 4, 2, b"later", version=2), START_MS)
    store(front, poison, later, gateway.came())
    settle(front.database)
    assert ready(front.database) == [(1, 3, None)]
    found = waiting(front.database)
    assert [row[:2] for row in found] == [(1, "[[1,3]]"), (2, "[[4,5]]")]
    assert all(why.startswith("dead: ") for _, _, why in found)
    with front.database.read() as connection:
        assert (dead_letters(connection, 1), dead_letters(connection, 2)) == (0, 5)


def odd(values: Any, **changed: Any) -> Row:
    row = {"kind": "sample", "sensor": "pm", "schema": 2, "boot": BOOT, "mono_ns": 1, "wall_ms": START_MS, "clock": "synced"}
    return Row(**{**row, **changed, "values": values, "flags": changed.get("flags", [1, 1, 1])})


ODD_ROWS = [
    odd([1, 2]),
    odd([1, 2, 3, 4]),
    odd([1, 2, "3"]),
    odd([1, 2, 3.5]),
    odd([True, 2, 3]),
    odd("text"),
    odd({"a": 1}),
    odd([1, 2, 3], schema=None),
    odd([1, 2, 3], schema=-5),
    odd([1, 2, 3], schema=1 << 40),
    odd([1, 2, 3], sensor="other"),
    odd([1, 2, 3], sensor=None),
    odd([1, 2, 3], wall_ms=-1),
    odd([1, 2, 3], wall_ms=1 << 60),
    odd({"no": "name"}, kind="event", schema=None),
    odd([1], kind="event", schema=None),
    odd({"event": "x\0y"}, kind="event", schema=None),
    odd({"sensor": "pm"}, kind="schema", schema=None),
    odd([], kind="schema", schema=None),
]


def test_rows_that_make_no_sense_are_dead_letters_beside_good_ones(front: Front, gateway: Gateway) -> None:
    odd_ones = []
    for row in ODD_ROWS:
        odd_ones.append(gateway.add(row))
        gateway.samples(1)
    front.store([gateway.came()])
    for seq in odd_ones:  # each alone, and all in one message
        alone = Gateway("demo-02", f"{seq:016x}")
        alone.rows = [*gateway.rows[:3], gateway.rows[seq - 1]]
        front.store([alone.came()])
    settle(front.database)
    assert all(why.startswith("dead: ") for _, _, why in waiting(front.database))
    together = Ranges([pair for batch, rows, _ in waiting(front.database) if batch == 1 for pair in json.loads(rows)])
    assert together == Ranges.of(odd_ones)
    assert [row for row in waiting(front.database) if row[0] > 1 and row[1] != "[[4,4]]"] == []
    assert [rows for _, batch, rows in ready(front.database) if batch > 1] == ["[[1,3]]"] * len(ODD_ROWS)


def test_a_schema_that_no_table_can_bear_is_a_dead_letter(front: Front) -> None:
    gateway = Gateway()
    gateway.start()
    many = [Channel("x", "", 0)] * 257
    nul, steep, backwards = Channel("x\0", "ug/m3", 0), Channel("x", "ug/m3", 500), Channel("x", "", 0, "ambient", -1)
    for channels in ([], [nul], [steep], [backwards]):
        gateway.schema(channels=channels)
    gateway.add(schema_row(Schema("pm", "a.b", "", "", tuple(many)), gateway.at(START_MS)))
    front.store([Incoming("demo-01", encode(gateway.stream, 1, gateway.rows), START_MS)])
    settle(front.database)
    assert sorted(rows for _, rows, _ in waiting(front.database)) == [f"[[{seq},{seq}]]" for seq in (2, 3, 4, 5, 6)]
    assert content(front.database, "schema") == {"schema": []}


def test_tombstones_that_make_no_sense_bury_nothing(front: Front, gateway: Gateway) -> None:
    mad: list[Any] = [
        {},
        {"stream": "x", "ranges": [[1, 2]]},
        {"stream": "00000000000000a1", "ranges": [[2, 1]]},
        {"stream": 5, "ranges": "all"},
        {"stream": "00000000000000a1", "ranges": [[1, 1 << 70]]},
        "x",
    ]
    for values in mad:
        gateway.add(odd(values, kind="tombstone", sensor=None, schema=None))
    front.store([gateway.came()])
    settle(front.database)
    assert [row[4] for row in content(front.database, "held")["held"]] == ["[]"]
    assert ready(front.database) == [(1, 1, None)]


def test_a_text_that_the_database_refuses_makes_only_its_batch_a_dead_letter(front: Front, gateway: Gateway) -> None:
    with front.database.write() as connection:
        if front.database.dialect == "sqlite":
            connection.execute(
                text("CREATE TRIGGER no BEFORE INSERT ON event WHEN new.kind = 'bad' BEGIN SELECT raise(ABORT, 'no'); END")
            )
        else:
            connection.execute(text("ALTER TABLE event ADD CHECK (kind <> 'bad')"))
    gateway.event("bad", {}, START_MS)
    store(front, gateway.came(1, 6), gateway.came(13, 13), gateway.came(7, 12))
    settle(front.database)
    assert ready(front.database) == [(1, 1, None), (2, 3, None)]
    assert waiting(front.database) == [(2, "[[13,13]]", "dead: IntegrityError while settling")]


def test_events_are_kept_with_their_sensor_and_content(front: Front, gateway: Gateway) -> None:
    gateway.event("sensor_state", {"state": "no_answer", "why": "silent"}, START_MS + 5, "pm")
    front.store([gateway.came()])
    settle(front.database)
    row = content(front.database, "event")["event"][-1]
    assert row[1:5] == (1, 1, START_MS + 5, "sensor_state")
    assert row[5] == '{"event":"sensor_state","state":"no_answer","why":"silent"}'


def test_card_and_previous_of_a_start_row_fill_what_no_hello_told(front: Front) -> None:
    gateway = Gateway()
    gateway.start(previous=("00000000000000a0", 7))
    front.store([gateway.came()])
    settle(front.database)
    assert content(front.database, "held")["held"][0][5:7] == ("card-1", '["00000000000000a0",7]')


def test_a_new_profile_of_a_sensor_changes_maker_and_model_only(front: Front, gateway: Gateway) -> None:
    later = Gateway(stream="00000000000000a2")
    later.start(LAGOS)
    later.schema(profile="sensirion.sps30")
    store(front, gateway.came(), later.came())
    settle(front.database)
    assert content(front.database, "sensor")["sensor"] == [(1, 1, 1, "pm", "sensirion", "sps30", None)]


def test_a_second_settle_does_not_settle_twice(front: Front, gateway: Gateway) -> None:
    one, two = Settle(front.database, Decoded()), Settle(front.database, Decoded())
    front.store([gateway.came(1, 6)])
    assert one.step()
    front.store([gateway.came(7, 12)])
    assert two.step()
    assert not one.step()
    assert ready(front.database) == [(1, 1, None), (2, 2, None)]


def test_a_later_version_reads_dead_letters_and_appends_them(front: Front, gateway: Gateway) -> None:
    """A version 2 whose bodies are those of version 1: it brings the schema that other samples wait for."""
    later = Incoming("demo-01", seal_header(gateway.stream, 1, 6, gateway.message(1, 6)[HEADER_BYTES:], version=2), START_MS)
    poison = Incoming("demo-01", seal_header(gateway.stream, 20, 2, b"poison"), START_MS)
    store(front, later, poison, gateway.came(7, 12))
    settle(front.database)
    assert ready(front.database) == []
    assert dead_letters_of(front.database) == 8

    newer = Decoded(readers={**READERS, (2, 1): decode_blocks})
    follower = Settle(front.database, newer, version=2)
    while follower.step():
        pass
    assert ready(front.database) == [(1, 1, None), (2, 3, None)]
    assert [(batch, rows) for batch, rows, _ in waiting(front.database)] == [(2, "[[20,21]]")]
    assert not Settle(front.database, newer, version=2).step(), "they are tried once"


def dead_letters_of(database: Database) -> int:
    with database.read() as connection:
        return dead_letters(connection, 1)
