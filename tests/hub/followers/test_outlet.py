"""Telemetry's connection against a real mosquitto."""

from pathlib import Path

import pytest

from hub.followers.outlet import MqttOutlet
from hub.settings import load
from readings.errors import Retry
from tests.servers import open_mosquitto, wait_until

pytestmark = pytest.mark.server


def outlet_to(url: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> MqttOutlet:
    monkeypatch.setenv("MQTT_URL", url)
    monkeypatch.setenv("DATA_DIR", str(folder))
    outlet = MqttOutlet(load())
    outlet.look()
    return outlet


@pytest.mark.timeout(60)
def test_more_messages_than_the_queue_holds_wait_for_their_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Publishing with a lock held that the acknowledgement wants as well once stood still for ever."""
    with open_mosquitto(tmp_path) as broker:
        outlet = outlet_to(broker.url, tmp_path, monkeypatch)
        wait_until(lambda: outlet.connections > 0, "a connection")
        for number in range(5_000):
            outlet.publish(f"telemetry/demo-01/{number % 50}", b"{}")
        outlet.stop()


def test_a_broker_that_went_away_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_mosquitto(tmp_path) as broker:
        outlet = outlet_to(broker.url, tmp_path, monkeypatch)
        wait_until(lambda: outlet.connections > 0, "a connection")
    wait_until(lambda: outlet.connections == 0, "the loss")
    with pytest.raises(Retry, match="telemetry: "):
        outlet.publish("telemetry/demo-01/pm", b"{}")
    outlet.stop()
