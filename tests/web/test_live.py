"""The page while the hub speaks, falls silent and comes back."""

from datetime import datetime
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, expect

pytestmark = pytest.mark.browser

UNILAG = '[data-sensor="demo-01/pm-01"][data-parameter="pm2_5"]'
MINUTE_MS = 60_000


def later(hub: Any, minutes: int = 1) -> int:
    """A time [Unix ms] after the canned latest values."""
    newest = hub.stations[0]["sensors"][0]["latest"]["time"]
    return int(datetime.fromisoformat(newest).timestamp() * 1000) + minutes * MINUTE_MS


def looked_at(tab: Page, hub: Any) -> None:
    tab.goto(hub.url)
    expect(tab.locator(UNILAG)).to_have_attribute("data-value", "28")
    expect(tab.locator("body")).to_have_attribute("data-live-state", "live")
    hub.wait_for_stream()


def test_a_stored_sample_changes_the_page_without_a_reload(tab: Page, hub: Any) -> None:
    looked_at(tab, hub)
    tab.evaluate("window.stillTheSame = true")
    hub.emit("sample", hub.sample(1, {"pm2_5": 31.5, "pm10": 44.0}, later(hub), pm10=3))
    expect(tab.locator(UNILAG)).to_have_attribute("data-value", "31.5")
    expect(tab.locator(UNILAG)).to_have_text("31.5")
    expect(tab.locator('[data-station="UNILAG gate"] .term', has_text="PM10")).to_contain_text("△ suspect")
    assert tab.evaluate("window.stillTheSame")


def test_open_details_and_focus_survive_a_sample(tab: Page, hub: Any) -> None:
    looked_at(tab, hub)
    summary = tab.locator('[data-station="UNILAG gate"] summary')
    summary.click()
    hub.emit("sample", hub.sample(1, {"pm2_5": 31.5, "pm2_5_cf1": 33.0, "n_gt_0_3um": 12.0}, later(hub)))
    expect(tab.locator(UNILAG)).to_have_attribute("data-value", "31.5")
    expect(tab.locator('[data-parameter="pm2_5_cf1"][data-value="33"]')).to_be_visible()
    expect(summary).to_be_focused()


def test_a_late_backlog_is_not_shown_as_the_latest(tab: Page, hub: Any) -> None:
    looked_at(tab, hub)
    hub.emit("sample", hub.sample(1, {"pm2_5": 99.0}, later(hub, -30)))
    hub.emit("sample", hub.sample(6, {"pm2_5": 12.0}, later(hub)))
    expect(tab.locator('[data-sensor="demo-05/box-05"][data-parameter="pm2_5"]')).to_have_attribute("data-value", "12")
    expect(tab.locator(UNILAG)).to_have_attribute("data-value", "28")


def test_a_new_station_appears_by_itself(tab: Page, hub: Any) -> None:
    hidden = hub.stations.pop()
    tab.goto(hub.url)
    expect(tab.locator("[data-station]")).to_have_count(5)
    hub.wait_for_stream()
    hub.stations.append(hidden)
    hub.emit("sample", hub.sample(7, {"pm2_5": 12.0}, later(hub)))
    expect(tab.locator("[data-station]")).to_have_count(6)


def test_a_reset_fetches_everything_again_and_believes_it(tab: Page, hub: Any) -> None:
    looked_at(tab, hub)
    latest = hub.stations[0]["sensors"][0]["latest"]
    hub.emit("sample", hub.sample(1, {"pm2_5": 31.5}, later(hub)))
    expect(tab.locator(UNILAG)).to_have_attribute("data-value", "31.5")
    latest["values"]["pm2_5"] = 3
    hub.emit("reset", {})
    expect(tab.locator(UNILAG)).to_have_attribute("data-value", "3")


def test_a_lost_stream_is_told_and_goes_on_behind_its_last_event(tab: Page, hub: Any) -> None:
    looked_at(tab, hub)
    assert "/api/v1/live?last_event_id=7.0" in hub.requests
    hub.emit("sample", hub.sample(1, {"pm2_5": 31.5}, later(hub)), "8.2")
    expect(tab.locator(UNILAG)).to_have_attribute("data-value", "31.5")
    hub.problems["/api/v1/live"] = (503, {"title": "Busy"})
    hub.cut_streams()
    expect(tab.locator("body")).to_have_attribute("data-live-state", "reconnecting")
    expect(tab.get_by_text("Reconnecting")).to_be_visible()
    expect(tab.locator(UNILAG)).to_have_attribute("data-value", "31.5")
    del hub.problems["/api/v1/live"]
    expect(tab.locator("body")).to_have_attribute("data-live-state", "live")
    assert hub.requests[-1] == "/api/v1/live?last_event_id=8.2"


def test_without_network_the_last_values_stay_with_their_age(context: BrowserContext, tab: Page, hub: Any) -> None:
    looked_at(tab, hub)
    context.set_offline(True)
    expect(tab.locator("body")).to_have_attribute("data-live-state", "offline")
    expect(tab.locator(UNILAG)).to_have_attribute("data-value", "28")
    age = tab.locator('[data-station="UNILAG gate"] .age time')
    before = age.inner_text()
    expect(age).not_to_have_text(before)
    context.set_offline(False)
    expect(tab.locator("body")).to_have_attribute("data-live-state", "live")


def test_a_page_that_was_hidden_for_long_takes_a_snapshot_instead_of_every_sample(tab: Page, hub: Any) -> None:
    tab.clock.install()
    looked_at(tab, hub)
    show = """(state) => {
      Object.defineProperty(document, 'visibilityState', { value: state, configurable: true });
      document.dispatchEvent(new Event('visibilitychange'));
    }"""
    tab.evaluate(show, "hidden")
    expect(tab.locator("body")).to_have_attribute("data-live-state", "paused")
    tab.clock.fast_forward(5 * MINUTE_MS)
    hub.stations[0]["sensors"][0]["latest"] = hub.sample(1, {"pm2_5": 55.0}, later(hub))
    tab.evaluate(show, "visible")
    expect(tab.locator("body")).to_have_attribute("data-live-state", "live")
    expect(tab.locator(UNILAG)).to_have_attribute("data-value", "55")
    assert [path for path in hub.requests if "/live" in path] == ["/api/v1/live?last_event_id=7.0", "/api/v1/live"]
