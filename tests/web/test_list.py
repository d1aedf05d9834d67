"""The list of stations, as people see it."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

pytestmark = pytest.mark.browser


def test_the_list_shows_each_value_as_the_hub_gave_it(tab: Page, hub: Any) -> None:
    tab.goto(hub.url)
    expect(tab.locator("[data-station]")).to_have_count(6)
    for place in hub.stations:
        for sensor in place["sensors"]:
            for parameter, value in sensor["latest"]["values"].items():
                shown = tab.locator(f'[data-sensor="{sensor["name"]}"][data-parameter="{parameter}"]')
                expect(shown).to_have_count(1)
                said = shown.get_attribute("data-value")
                assert (float(said) if said else None) == value
                assert shown.get_attribute("data-flag") == str(sensor["latest"]["flags"][parameter])
                assert shown.get_attribute("data-time") == sensor["latest"]["time"]


def test_a_headline_has_value_unit_category_word_and_age(tab: Page, hub: Any) -> None:
    tab.goto(hub.url)
    card = tab.locator('[data-station="UNILAG gate"]')
    expect(card.locator(".headline")).to_have_text("PM2.528 µg/m³")
    expect(card.locator("[data-category]")).to_have_attribute("data-category", "moderate")
    expect(card.locator(".chip")).to_have_text("87 Moderate")
    expect(card.locator(".age")).to_have_text(re.compile(r"^\d+ sec ago$"))


def test_a_station_without_enough_hours_says_so(tab: Page, hub: Any) -> None:
    tab.goto(hub.url)
    chip = tab.locator('[data-station="Lekki toll plaza"] .chip')
    expect(chip).to_have_text("not enough data")


def test_a_station_that_measures_no_particles_has_no_category(tab: Page, hub: Any) -> None:
    hub.stations[0]["index"] = None
    tab.goto(hub.url)
    expect(tab.locator('[data-station="UNILAG gate"] .number').first).to_have_text("28")
    expect(tab.locator('[data-station="UNILAG gate"] .chip')).to_have_count(0)


def test_suspect_failed_and_missing_values_are_told_by_word_and_mark(tab: Page, hub: Any) -> None:
    tab.goto(hub.url)
    apapa = tab.locator('[data-station="Apapa port"]')
    expect(apapa.locator(".headline")).to_contain_text("△ suspect")
    expect(apapa.locator(".term", has_text="PM10")).to_contain_text("6,500 µg/m³ ✕ fail")
    expect(tab.locator('[data-station="Ikeja bus terminal"] .term', has_text="PM10")).to_contain_text("○ missing")


def test_a_values_ink_does_not_depend_on_the_value(tab: Page, hub: Any) -> None:
    tab.goto(hub.url)
    expect(tab.locator("[data-station]")).to_have_count(6)
    inks = tab.evaluate("[...new Set([...document.querySelectorAll('[data-value]')].map((one) => getComputedStyle(one).color))]")
    assert len(inks) == 1


def test_french_is_asked_for_by_the_address_and_remembered(tab: Page, hub: Any) -> None:
    tab.goto(f"{hub.url}/?lang=fr")
    expect(tab.locator("html")).to_have_attribute("lang", "fr")
    expect(tab.locator('[data-station="Lekki toll plaza"] .chip')).to_have_text("pas assez de données")
    expect(tab.locator('[data-station="Apapa port"] .term', has_text="Tension")).to_contain_text("230,2 V")
    tab.goto(hub.url)
    expect(tab.locator("html")).to_have_attribute("lang", "fr")
    tab.get_by_role("link", name="English").click()
    expect(tab.locator('[data-station="Lekki toll plaza"] .chip')).to_have_text("not enough data")
    expect(tab).to_have_url(f"{hub.url}/?lang=en")


def test_what_a_station_calls_itself_is_text_and_never_markup(tab: Page, hub: Any) -> None:
    hub.stations[0]["name"] = "<img src=x onerror=alert(1)>"
    tab.goto(hub.url)
    expect(tab.get_by_role("link", name="<img src=x onerror=alert(1)>")).to_be_visible()


def test_a_hub_without_stations_says_what_to_do(tab: Page, hub: Any) -> None:
    hub.stations = []
    tab.goto(hub.url)
    expect(tab.locator("main")).to_contain_text("harmattan-hub gateway enrol NAME")


def test_a_hub_that_cannot_answer_says_why_and_the_page_recovers(tab: Page, hub: Any) -> None:
    path = "/api/v1/dashboard/realtime"
    hub.problems[path] = (503, {"title": "Busy", "detail": "the database is locked"})
    tab.goto(hub.url)
    expect(tab.locator(".problem")).to_contain_text("the database is locked")
    del hub.problems[path]
    tab.get_by_role("button", name="Try again").click()
    expect(tab.locator("[data-station]")).to_have_count(6)
    expect(tab.locator(".problem")).to_have_count(0)


@pytest.mark.parametrize("address", ["/", "/stations/3", "/about", "/nowhere"])
@pytest.mark.parametrize("language", ["en", "fr"])
def test_nothing_scrolls_sideways_on_320_pixels(tab: Page, hub: Any, address: str, language: str) -> None:
    tab.set_viewport_size({"width": 320, "height": 640})
    tab.goto(f"{hub.url}{address}?lang={language}")
    expect(tab.locator("body")).to_have_attribute("data-live-state", "live")
    if address == "/":
        expect(tab.locator("[data-station]")).to_have_count(6)
    assert tab.evaluate("document.documentElement.scrollWidth") == 320


def test_the_page_is_drawn_for_people_who_look(tab: Page, hub: Any, tmp_path: Path) -> None:
    """PICTURES names a folder to keep the picture in."""
    tab.goto(hub.url)
    expect(tab.locator("[data-station]")).to_have_count(6)
    picture = Path(os.environ.get("PICTURES", tmp_path)) / "stations.png"
    tab.screenshot(path=picture)
    assert picture.stat().st_size > 20_000
