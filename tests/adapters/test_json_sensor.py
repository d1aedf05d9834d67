"""JSON devices as sensors over real HTTP: only the channels they have, errors that are none of garbage, no clouds by accident."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from adapters.catalogue import Catalogue
from adapters.sensor import Sensor, open_sensor
from adapters.transport.base import DeviceError, Garbage, NoData, parse_address
from adapters.vectors import read
from readings.errors import Stop
from tests.servers import free_port

FIRST = {"software_version": "NRZ-2024-135", "age": "12", "sensordatavalues": [{"value_type": "SDS_P2", "value": "7.25"}]}
LATER = {**FIRST, "sensordatavalues": [*FIRST["sensordatavalues"], {"value_type": "BME280_temperature", "value": "21.50"}]}


@contextmanager
def served(*bodies: Any) -> Iterator[str]:
    """An HTTP device that answers with each of these in turn, the last for ever."""
    left = list(bodies)

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            said = left.pop(0) if len(left) > 1 else left[0]
            text = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/data.json"
        server.shutdown()


def sensor_at(url: str, profile: str, catalogue: Catalogue) -> Sensor:
    return open_sensor(catalogue.get(profile), parse_address(url, Path()), sensor_id="box", every_s=60)


def named(sensor: Sensor) -> list[str]:
    return [channel.parameter for channel in sensor.schema.channels]


def test_a_device_has_the_channels_that_it_gives_and_no_others(catalogue: Catalogue) -> None:
    without = {**LATER, "sensordatavalues": [{"value_type": "BME280_temperature", "value": "22.00"}]}
    with served(FIRST, LATER, without) as url:
        sensor = sensor_at(url, "sensorcommunity.airrohr", catalogue)
        answer = sensor.sample(5)
        assert (named(sensor), answer.values) == (["age", "sds.pm2_5"], (12, 725))
        answer = sensor.sample(5)
        assert (named(sensor), answer.values) == (["age", "sds.pm2_5", "bme280.temperature"], (12, 725, 2150))
        answer = sensor.sample(5)
        assert (named(sensor)[1], answer.values, answer.flags) == ("sds.pm2_5", (12, None, 2200), (1, 9, 1))
        sensor.close()


def test_nothing_yet_an_error_and_a_web_page_are_told_apart(catalogue: Catalogue) -> None:
    not_yet = {"age": "-1", "sensordatavalues": []}
    with served(not_yet) as url, pytest.raises(NoData):
        sensor_at(url, "sensorcommunity.airrohr", catalogue).sample(5)
    with served({"data": None, "error": {"code": 409}}) as url, pytest.raises(DeviceError, match="api_error:409"):
        sensor_at(url, "davis.weatherlink-live", catalogue).sample(5)
    with served(b"<html>log in</html>") as url, pytest.raises(Garbage, match="not_json"):
        sensor_at(url, "tasmota.sns", catalogue).sample(5)


@pytest.mark.parametrize("profile", ["openaq.v3", "airgradient.cloud", "airqo.thingspeak", "purpleair.cloud", "quantaq.v1"])
def test_a_cloud_with_many_readings_is_no_sensor(profile: str, catalogue: Catalogue) -> None:
    with pytest.raises(Stop, match="not in this version"):
        sensor_at("http://127.0.0.1:1/x", profile, catalogue)


def test_the_bodies_that_devices_post_are_read_by_the_same_profiles(catalogue: Catalogue) -> None:
    for profile, vector in (("sensorcommunity.airrohr", "2024-135"), ("airgradient.local", "3121")):
        held = read(catalogue.path(profile).with_suffix(".capture.json"))
        body = next(one["raw"]["json"] for one in held if one["id"] == f"{profile}-{vector}")
        port = free_port()
        address = msgspec.structs.replace(parse_address("listen:/box/5ecre7", Path()), host="127.0.0.1", port=port)
        sensor = open_sensor(catalogue.get(profile), address, sensor_id="push", every_s=60)
        sensor.open()
        posted = json.dumps(body).encode()
        urllib.request.urlopen(
            urllib.request.Request(f"http://127.0.0.1:{port}/box/5ecre7", posted), timeout=5
        ).close()  # our own
        answer = sensor.sample(5)
        assert None not in answer.values or profile == "airgradient.local"
        assert json.loads(answer.raw) == body
        sensor.close()
