"""One station: its address, its tables, its chart."""

import re
from datetime import datetime
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser

MINUTE_MS = 60_000


def readings(now_ms: int, minutes: range, flag: int = 1) -> list[tuple[int, float | None, int]]:
    return [(now_ms - minute * MINUTE_MS, 10.0 + minute % 7, flag) for minute in reversed(minutes)]


def drawn(tab: Page) -> dict[str, str]:
    """What was handed to the canvas, once everything is loaded."""
    expect(tab.locator("[data-course]")).to_have_attribute("data-loading", "false")
    told: dict[str, str] = tab.locator("[data-chart]").evaluate("(one) => ({ ...one.dataset })")
    return told


def now(hub: Any) -> int:
    """A moment [Unix ms] just before now, as the canned stations have it."""
    return int(datetime.fromisoformat(hub.stations[0]["sensors"][0]["latest"]["time"]).timestamp() * 1000)


def test_each_view_is_reached_by_its_address(tab: Page, hub: Any) -> None:
    for address, heading in [("/", "Stations"), ("/stations/2", "Yaba market"), ("/about", "About"), ("/nowhere", "Not found")]:
        tab.goto(f"{hub.url}{address}")
        expect(tab.get_by_role("heading", level=1)).to_have_text(heading)
        expect(tab).to_have_title(f"{heading} · Harmattan")


def test_the_back_button_goes_back_through_views_and_ranges(tab: Page, hub: Any) -> None:
    tab.goto(hub.url)
    tab.get_by_role("link", name="Apapa port").click()
    expect(tab).to_have_url(f"{hub.url}/stations/3")
    expect(tab.get_by_role("heading", level=1)).to_be_focused()
    tab.get_by_text("6 hours").click()
    expect(tab).to_have_url(f"{hub.url}/stations/3?parameter=pm2_5&hours=6")
    tab.get_by_label("Parameter").select_option("voltage")
    expect(tab).to_have_url(f"{hub.url}/stations/3?parameter=voltage&hours=6")
    expect(tab.locator("[data-course]")).to_have_attribute("data-course", "demo-03/meter-03 voltage")
    tab.go_back()
    expect(tab.locator("[data-course]")).to_have_attribute("data-course", "demo-03/pm-03 pm2_5")
    tab.go_back()
    tab.go_back()
    expect(tab.locator("article[data-station]")).to_have_count(6)
    documents = [path for path in hub.requests if not path.startswith(("/api/", "/assets/", "/favicon"))]
    assert documents == ["/"]


def test_the_table_says_value_unit_and_quality_in_words(tab: Page, hub: Any) -> None:
    tab.goto(f"{hub.url}/stations/3")
    expect(tab.get_by_role("row", name=re.compile("^PM10 "))).to_have_text("PM106,500 µg/m³✕ fail")
    expect(tab.get_by_role("row", name=re.compile("^Voltage "))).to_have_text("Voltage230.2 V✓ good")
    shown = tab.locator('[data-sensor="demo-03/pm-03"][data-parameter="pm10"]')
    expect(shown).to_have_attribute("data-value", "6500")
    expect(shown).to_have_attribute("data-flag", "4")


def test_a_gap_is_handed_to_the_chart_as_a_gap(tab: Page, hub: Any) -> None:
    at = now(hub)
    hub.readings[1, "pm2_5"] = readings(at, range(300, 600)) + readings(at, range(200))
    tab.goto(f"{hub.url}/stations/1")
    told = drawn(tab)
    assert (told["readings"], told["gaps"], told["breaks"]) == ("500", "1", "1")
    expect(tab.locator(".facts")).to_contain_text("1 gap")


def test_missing_and_failed_values_lift_the_pen(tab: Page, hub: Any) -> None:
    at = now(hub)
    rows = readings(at, range(100))
    rows[30] = (rows[30][0], None, 9)
    rows[60] = (rows[60][0], 6500.0, 4)
    hub.readings[1, "pm2_5"] = rows
    tab.goto(f"{hub.url}/stations/1?parameter=pm2_5&hours=6")
    told = drawn(tab)
    assert (told["readings"], told["gaps"], told["breaks"]) == ("100", "1", "2")
    expect(tab.locator(".facts")).to_contain_text("highest 16 µg/m³")
    expect(tab.locator(".facts")).to_contain_text("1 failed")


def test_every_page_of_readings_is_followed_until_the_range_is_there(tab: Page, hub: Any) -> None:
    hub.readings[1, "pm2_5"] = readings(now(hub), range(1400))
    hub.page_size = 300
    tab.goto(f"{hub.url}/stations/1")
    told = drawn(tab)
    assert (told["readings"], told["gaps"]) == ("1400", "0")
    assert [path.rsplit("cursor=", 1)[1] for path in hub.requests if "cursor=" in path] == ["300", "600", "900", "1200"]


def test_a_live_sample_is_appended_to_the_open_chart(tab: Page, hub: Any) -> None:
    at = now(hub)
    hub.readings[1, "pm2_5"] = readings(at, range(100))
    tab.goto(f"{hub.url}/stations/1")
    drawn(tab)
    hub.wait_for_stream()
    hub.emit("sample", hub.sample(1, {"pm2_5": 77.0}, at + 1000))
    expect(tab.locator("[data-chart]")).to_have_attribute("data-readings", "101")
    expect(tab.locator("[data-chart]")).to_have_attribute("data-last", str(at + 1000))
    expect(tab.locator('[data-sensor="demo-01/pm-01"][data-parameter="pm2_5"]')).to_have_attribute("data-value", "77")


def test_arrow_keys_read_the_chart_without_a_mouse(tab: Page, hub: Any) -> None:
    hub.readings[1, "pm2_5"] = readings(now(hub), range(100))
    tab.goto(f"{hub.url}/stations/1?hours=6")
    drawn(tab)
    tab.locator(".plate").focus()
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("ArrowLeft")
    expect(tab.locator(".readout")).to_contain_text("11 µg/m³")


def test_a_station_that_is_not_there_says_where_to_go(tab: Page, hub: Any) -> None:
    tab.goto(f"{hub.url}/stations/99")
    expect(tab.get_by_role("heading", level=1)).to_have_text("Not found")
    tab.get_by_role("link", name="All stations").click()
    expect(tab.locator("[data-station]")).to_have_count(6)


def test_times_are_those_of_the_station(tab: Page, hub: Any) -> None:
    tab.goto(f"{hub.url}/stations/1")
    expect(tab.locator(".place time")).to_have_attribute("title", re.compile(r"GMT\+1$"))
