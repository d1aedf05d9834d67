"""Rows of HTTP through the front: each once, revised where they differ, judged and placed like any other, and made anew alike."""

import threading
from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from hub.database import tables
from hub.database.engine import Database
from hub.followers.runner import Followers, rebuild
from hub.front.decoded import Decoded
from hub.front.json_rows import ENCODING_JSON, STREAM, Posted, Source, content_of, decode_blocks, encode
from hub.front.log import Front, Incoming
from hub.front.posts import Posts, Verdict, chunks
from hub.front.settle import Settle
from hub.settings import Settings
from readings.batch import Header, UndecodableBody, seal_header
from readings.sample import Channel, Schema
from tests.hub.field import START_MS, Gateway, content, enrol

PM = (Channel("pm2_5", "ug/m3", -1), Channel("temperature", "degC", -2))
SENSOR = Source(Schema("pm", "ingest", "", "", PM))


class Silent:
    """An outlet without a connection."""

    connections = 0

    def publish(self, topic: str, payload: bytes) -> None:
        raise AssertionError


@pytest.fixture
def network(database: Database) -> Database:
    enrol(database, "demo-01", "demo-02")
    return database


def row(minute: int, *values: int | None, source: Source = SENSOR, gateway: int = 1) -> Posted:
    return Posted(gateway, source, START_MS + 60_000 * minute, values or (123 + minute, 2150))


def followed(database: Database) -> None:
    Followers(database, Settings(), Silent()).catch_up()


def samples(database: Database) -> list[tuple[Any, ...]]:
    return content(database, "sample")["sample"]


def other_steps(channels: Sequence[Channel]) -> Source:
    return Source(Schema("pm", "ingest", "", "", tuple(channels)))


def test_a_row_is_stored_once_and_a_different_one_of_its_time_revises_it(network: Database) -> None:
    posts = Posts(network)
    assert posts.store([row(0), row(1)]) == ["stored", "stored"]
    assert posts.store([row(1), row(0, 999, 2150), row(2)]) == ["duplicate", "revised", "stored"]
    followed(network)
    assert [(r[1], r[2], r[3], r[5]) for r in samples(network)] == [
        (START_MS, 0, START_MS, "[99.9,21.5]"),
        (START_MS + 60_000, 0, START_MS + 60_000, "[12.4,21.5]"),
        (START_MS + 120_000, 0, START_MS + 120_000, "[12.5,21.5]"),
    ]
    assert [r[5] for r in content(network, "sample_before")["sample_before"]] == ["[12.3,21.5]"]


def test_equal_rows_of_one_post_are_stored_once_and_each_revision_is_kept(network: Database) -> None:
    verdicts = Posts(network).store([row(0), row(0), row(0, 1, 1), row(0, 2, 2), row(0, 2, 2), row(0)])
    assert verdicts == ["stored", "duplicate", "revised", "revised", "duplicate", "revised"]
    followed(network)
    assert [r[5] for r in samples(network)] == ["[12.3,21.5]"]
    before = [r[5] for r in sorted(content(network, "sample_before")["sample_before"], key=lambda r: r[-1])]
    assert before == ["[12.3,21.5]", "[0.1,0.01]", "[0.2,0.02]"]


def test_the_same_value_in_finer_steps_is_the_same_content() -> None:
    assert content_of(PM, (120, 2150)) == content_of((PM[1], Channel("pm2_5", "ug/m3", 0)), (2150, 12))
    assert content_of(PM, (120, None)) == content_of(PM[:1], (120,)) != content_of(PM, (120, 0))


def test_a_revision_of_the_newest_row_is_the_latest(network: Database) -> None:
    posts = Posts(network)
    posts.store([row(0), row(1)])
    followed(network)
    posts.store([row(1, 777, 2150)])
    followed(network)
    with network.read() as connection:
        assert connection.execute(select(tables.latest.c.body)).scalars().all() == ["[77.7,21.5]"]


def test_the_hub_judges_rows_of_http_like_any_other(network: Database) -> None:
    Posts(network).store([row(0, 70_000, 2150), row(1, None, 12_000)])
    followed(network)
    assert [r[6] for r in samples(network)] == ["[4,1]", "[9,4]"]


def test_a_wiped_follower_makes_the_same_samples_and_latest_again(network: Database) -> None:
    Posts(network).store([row(minute % 7, minute, minute) for minute in range(40)])
    Posts(network).store([row(3, 5, 5), row(9)])
    followed(network)
    before = content(network, "sample", "sample_before", "latest")
    rebuild(network, "samples")
    rebuild(network, "latest")
    assert content(network, "sample", "sample_before", "latest") == before


def test_the_index_of_rows_is_made_anew_from_the_log(network: Database) -> None:
    posts = Posts(network)
    posts.store([row(minute % 7, minute, minute) for minute in range(40)] + [row(1, gateway=2)])
    before = content(network, "json_row")
    with network.write() as connection:
        connection.execute(tables.json_row.delete())
    assert rebuild(network, "json_rows") == 8
    assert content(network, "json_row") == before


def test_two_posts_of_the_same_rows_at_once_store_each_row_once(network: Database) -> None:
    rows = [row(minute) for minute in range(300)]
    verdicts: list[list[Verdict]] = []
    barrier = threading.Barrier(4)

    def post(seed: int) -> None:
        mine = list(rows)
        Random(seed).shuffle(mine)
        barrier.wait()
        verdicts.append(Posts(network).store(mine))

    threads = [threading.Thread(target=post, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(each.count("stored") for each in verdicts) == len(rows)
    assert sum(each.count("duplicate") for each in verdicts) == 3 * len(rows)
    followed(network)
    assert len(samples(network)) == len(rows)


def test_a_new_sensor_stands_where_its_gateway_stands(network: Database) -> None:
    gateway = Gateway("demo-01")
    gateway.start({"name": "UNILAG gate", "lat": 6.5, "lon": 3.4})
    gateway.schema("meter")
    gateway.samples(1, "meter")
    Front(network).store([gateway.came()])
    followed(network)
    Posts(network).store([row(0)])
    followed(network)
    found = content(network, "station", "deployment")
    assert [s[2] for s in found["station"]] == ["UNILAG gate"]
    assert [(d[0], d[1], d[2], d[3]) for d in found["deployment"]] == [(1, START_MS, 1, None), (2, START_MS, 1, None)]


def test_a_device_that_posts_gets_a_station_of_its_own_and_stays_where_a_person_moved_it(network: Database) -> None:
    with network.write() as connection:
        connection.execute(update(tables.gateway).where(tables.gateway.c.id == 1).values(kind="push"))
        connection.execute(update(tables.network).values(visibility="coarse"))
    schema = Schema("airrohr-12", "sensorcommunity.airrohr", "0" * 64, "NRZ-1", PM)
    device = Source(schema, "airrohr 12", "12", described=True)
    posts = Posts(network)
    posts.store([row(5, source=device)])
    followed(network)
    found = content(network, "station", "sensor")
    assert [(s[2], s[7]) for s in found["station"]] == [("airrohr 12", "coarse")]
    assert [tuple(s[3:7]) for s in found["sensor"]] == [("airrohr-12", "sensorcommunity", "airrohr", "12")]
    with network.write() as connection:
        place = {"network": 1, "name": "school", "visibility": "public"}
        station = connection.execute(insert(tables.station).values(**place).returning(tables.station.c.id)).scalar_one()
        connection.execute(update(tables.deployment).values(to_ms=START_MS + 400_000))
        moved = {"sensor": 1, "station": station, "from_ms": START_MS + 400_000}
        connection.execute(insert(tables.deployment).values(**moved))
    newer = Source(Schema("airrohr-12", schema.profile, "0" * 64, "NRZ-2", PM), "airrohr 12", "12", described=True)
    posts.store([row(9, source=newer), row(0, source=newer)])
    followed(network)
    assert [(d[1] - START_MS, d[2]) for d in content(network, "deployment")["deployment"]] == [(0, 1), (400_000, station)]


def test_rows_of_a_gateways_link_and_of_http_stand_side_by_side(network: Database) -> None:
    gateway = Gateway("demo-01")
    gateway.start()
    gateway.schema()
    gateway.samples(1)
    Front(network).store([gateway.came()])
    Posts(network).store([row(0)])
    followed(network)
    assert [(r[0], r[2]) for r in samples(network)] == [(1, 0), (1, 1)]
    assert [h[2] for h in content(network, "held")["held"]] == [gateway.stream]


@pytest.mark.parametrize(("lo", "n"), [(1, 1), (0, 0), (7, 3)])
def test_the_wire_takes_no_rows_without_a_number(network: Database, lo: int, n: int) -> None:
    _, body = encode([row(0)])
    front = Front(network)
    for stream in (STREAM, "00000000000000a1"):
        message = seal_header(stream, lo, n, body, encoding=ENCODING_JSON)
        assert front.store([Incoming("demo-01", message, START_MS)])[0].what == "refused"
    gateway = Gateway("demo-01", stream=STREAM)
    gateway.start()
    assert front.store([gateway.came()])[0].what == "refused"
    assert front.answer("demo-01", gateway.hello()) is None
    assert content(network, "batch", "held") == {"batch": [], "held": []}


def test_a_batch_that_cannot_be_read_is_a_dead_letter_and_blocks_nothing(network: Database) -> None:
    posts = Posts(network)
    posts.store([row(0)])
    with network.write() as connection:
        connection.execute(update(tables.batch).values(body=b"poison"))
    posts.store([row(1)])
    settle = Settle(network, Decoded())
    while settle.step():
        pass
    assert [w[3:5] for w in content(network, "waiting")["waiting"]] == [(1, "[]")]
    followed(network)
    assert [r[1] for r in samples(network)] == [START_MS + 60_000]


def test_a_body_whose_schema_no_table_can_hold_is_a_dead_letter(network: Database) -> None:
    Posts(network).store([row(0, source=Source(Schema("pm", "", "", "", PM))), row(1)])
    followed(network)
    assert [w[5] for w in content(network, "waiting")["waiting"]] == ["dead: a schema with a text that cannot be shown"]
    assert samples(network) == []


def test_a_body_with_numbers_or_with_columns_of_unequal_length_is_refused() -> None:
    _, body = encode([row(0)])
    assert len(decode_blocks(Header(1, 2, STREAM, 0, 0, 0), body)) == 2
    with pytest.raises(UndecodableBody, match="rows with numbers"):
        decode_blocks(Header(1, 2, STREAM, 1, 1, 0), body)
    _, short = encode([Posted(1, SENSOR, START_MS, (1, 2)), Posted(1, other_steps(PM[:1]), START_MS, (1, 2))])
    with pytest.raises(UndecodableBody, match="columns"):
        decode_blocks(Header(1, 2, STREAM, 0, 0, 0), short)


def test_a_batch_holds_one_gateways_rows_and_no_time_of_a_sensor_twice() -> None:
    made = chunks([row(0), row(0, gateway=2), row(1), row(0, 5, 5), row(0, 6, 6)])
    assert [(later, [(r.gateway, (r.time_ms - START_MS) // 60_000) for r in some]) for later, some in made] == [
        (0, [(1, 0), (1, 1)]),
        (1, [(1, 0)]),
        (2, [(1, 0)]),
        (2, [(2, 0)]),
    ]
