"""A station's category from its stored samples: which channel, which hours, and when late rows count."""

from collections.abc import Sequence

import pytest

from hub.database.engine import Database
from hub.fleet.category import NEW_KEPT_S, OLD_KEPT_S, Categories, Where
from hub.fleet.stations import particle_channels
from hub.followers.runner import Followers
from hub.front.log import Front
from hub.science.hours import HOUR_MS
from hub.settings import Settings
from hub.store.sql import SampleStore, Stored
from readings.sample import Channel
from tests.hub.field import Gateway, enrol, store

NOON = 1_795_521_600_000
MINUTE_MS = 60_000
WHERE = Where(1, {5: 1}, 0)


def put(database: Database, hour: int, micrograms: str, flags: str | None = None, schema: int = 5) -> None:
    """An hour of minutes that ends so many hours before noon; the value stands second in each body."""
    end = NOON - hour * HOUR_MS
    rows = [Stored(1, end - m * MINUTE_MS, 1, end // MINUTE_MS - m, schema, f"[7,{micrograms}]", flags, None) for m in range(60)]
    with database.write() as connection:
        SampleStore(database).put(connection, rows, 0)


def test_the_category_is_that_of_the_last_whole_hours(database: Database) -> None:
    for hour in range(12):
        put(database, hour, "40")
    found = Categories(SampleStore(database)).index(WHERE, NOON + 59 * MINUTE_MS)
    assert (found.value, found.aqi, found.category, found.completeness) == (40.0, 112, "unhealthy_for_sensitive_groups", 1.0)
    assert found.time == "2026-11-24T12:00:00.000Z"


def test_a_dust_storm_is_not_cut_at_500(database: Database) -> None:
    for hour in range(3):
        put(database, hour, "1800", flags="[1,3]")
    found = Categories(SampleStore(database)).index(WHERE, NOON)
    assert (found.category, found.value) == ("hazardous", 1800.0)
    assert found.aqi is not None
    assert found.aqi > 500


@pytest.mark.parametrize("given", [("null", "[1,9]"), ("40", "[1,4]")])
def test_missing_and_failed_values_make_no_hour(database: Database, given: Sequence[str]) -> None:
    for hour in range(3):
        put(database, hour, given[0], flags=given[1])
    found = Categories(SampleStore(database)).index(WHERE, NOON)
    assert (found.value, found.reason, found.completeness) == (None, "not_enough_data", 0)


def test_a_schema_without_the_channel_is_passed_over(database: Database) -> None:
    put(database, 0, "40", schema=6)
    assert Categories(SampleStore(database)).index(WHERE, NOON).completeness == 0


def test_late_rows_fill_their_hour_after_a_while(database: Database) -> None:
    now = [0.0]
    categories = Categories(SampleStore(database), clock=lambda: now[0])
    for hour in (1, 2):
        put(database, hour, "10")
    assert categories.index(WHERE, NOON).value == 10.0
    put(database, 0, "40")
    put(database, 8, "40")
    assert categories.index(WHERE, NOON).value == 10.0
    now[0] = NEW_KEPT_S
    newer = categories.index(WHERE, NOON)
    assert newer.completeness == 0.25
    assert newer.value is not None
    assert newer.value > 10
    now[0] = OLD_KEPT_S
    assert categories.index(WHERE, NOON).completeness == 0.33


def test_only_outdoor_particles_count(one_database: Database) -> None:
    enrol(one_database, "demo-01")
    gateway = Gateway()
    gateway.start({"name": "gate"})
    gateway.schema("inside", [Channel("pm2_5", "ug/m3", 0, "internal")])
    gateway.schema("outside", [Channel("pm10", "ug/m3", 0), Channel("pm2_5", "ug/m3", -1, "ambient", 60)])
    store(Front(one_database), gateway.came())
    Followers(one_database, Settings()).catch_up()
    with one_database.read() as connection:
        found = particle_channels(connection, {1: 0, 2: 0})
    assert list(found.values()) == [Where(2, {2: 1}, 60, 0)]
