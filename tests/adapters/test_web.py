"""HTTP sensors against real servers that do what real and unreal devices do."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from adapters.catalogue import Catalogue
from adapters.profile import Profile
from adapters.sensor import Sensor, open_sensor
from adapters.transport.base import Garbage, LinkFailed, Refused, Unanswered, parse_address
from tests.servers import free_port

Handler = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def airgradient(catalogue: Catalogue) -> Profile:
    return catalogue.get("airgradient.local")


@contextmanager
def served(handle: Handler) -> Iterator[str]:
    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(ConnectionError):
                handle(self)

        def log_message(self, *_: Any) -> None:
            return None

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/measures/current"
        server.shutdown()


def body(text: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    def handle(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(text)), **(headers or {})}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(text)

    return handle


def sensor_at(url: str, profile: Profile) -> Sensor:
    return open_sensor(profile, parse_address(url, Path()), sensor_id="box", every_s=60)


def shown(sensor: Sensor, deadline_s: float = 5) -> dict[str, tuple[int | None, int]]:
    answer = sensor.sample(deadline_s)
    names = [channel.parameter for channel in sensor.schema.channels]
    return {name: (value, flag) for name, value, flag in zip(names, answer.values, answer.flags, strict=True)}


def test_a_good_answer_gives_values_in_the_schemas_steps_and_its_firmware(airgradient: Profile) -> None:
    with served(body(b'{"pm02": 34, "atmp": 23.1, "rco2": 778, "pm02Compensated": 0, "firmware": "3.1.1"}')) as url:
        sensor = sensor_at(url, airgradient)
        assert sensor.schema.firmware == ""
        values = shown(sensor)
    assert values["pm2_5"] == (3400, 1)
    assert values["temperature"] == (2310, 1)
    assert values["co2"] == (77800, 1)
    assert values["pm2_5_compensated"] == (0, 1), "zero is a value"
    assert values["pm10"] == (None, 9)
    assert sensor.schema.firmware == "3.1.1"


def test_nan_booleans_and_words_are_missing_and_numbers_as_text_are_suspect(airgradient: Profile) -> None:
    text = b'{"pm02": NaN, "pm10": true, "rco2": "600", "atmp": "warm", "rhum": 1e999, "wifi": -52, "pm01": null, "noxRaw": [1]}'
    with served(body(text)) as url:
        sensor = sensor_at(url, airgradient)
        answer = sensor.sample(5)
        values = shown(sensor)
    assert {
        name: values[name] for name in ("pm2_5", "pm10", "temperature", "relative_humidity", "pm1_0", "nox_raw")
    } == dict.fromkeys(("pm2_5", "pm10", "temperature", "relative_humidity", "pm1_0", "nox_raw"), (None, 9))
    assert values["co2"] == (60000, 3)
    assert values["rssi"] == (-52, 1)
    assert answer.counted == {"boolean": 1, "not_a_number": 1, "number_as_text": 1, "not_finite": 1}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"<html><body>404: Not Found</body></html>", "not_json"),
        (b"", "not_json"),
        (b"\xff\xfe\x00", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[1, 2]", "schema_mismatch"),
        (b'{"other": 1}', "schema_mismatch"),
        (b'{"pm02": ' + b"9" * 5000 + b"}", "not_json"),
    ],
)
def test_a_body_that_is_no_reading_is_garbage_by_name(text: bytes, code: str, airgradient: Profile) -> None:
    with served(body(text)) as url, pytest.raises(Garbage) as garbage:
        sensor_at(url, airgradient).sample(5)
    assert garbage.value.code == code
    assert "`at:`" in garbage.value.hint  # no line settings: this device has none


def test_a_redirect_is_told_and_not_followed(airgradient: Profile) -> None:
    with (
        served(body(b"", 302, {"Location": "http://portal.example/login"})) as url,
        pytest.raises(Refused, match="302") as refused,
    ):
        sensor_at(url, airgradient).sample(5)
    assert "portal.example" in refused.value.hint


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_a_refusal_says_its_status(status: int, airgradient: Profile) -> None:
    with served(body(b"no", status)) as url, pytest.raises(Refused, match=str(status)):
        sensor_at(url, airgradient).sample(5)


def test_a_gigabyte_is_refused_without_reading_it(airgradient: Profile) -> None:
    sent = 0

    def flood(request: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        request.send_response(200)
        request.end_headers()
        for _ in range(1 << 14):
            sent += request.wfile.write(b" " * (1 << 16))

    with served(flood) as url, pytest.raises(Garbage) as garbage:
        sensor_at(url, airgradient).sample(10)
    assert garbage.value.code == "too_large"
    assert sent < 32 << 20
    announced = body(b"x", 200, {"Content-Length": str(1 << 30)})
    with served(announced) as url, pytest.raises(Garbage, match="1048576"):
        sensor_at(url, airgradient).sample(5)


@pytest.mark.parametrize("where", ["head", "body"])
def test_one_byte_at_a_time_ends_at_the_deadline(where: str, airgradient: Profile) -> None:
    def drip(request: BaseHTTPRequestHandler) -> None:
        if where == "body":
            request.send_response(200)
            request.end_headers()
        for byte in b"HTTP/1.0 200 OK" * 100:
            request.wfile.write(bytes([byte]))
            request.wfile.flush()
            time.sleep(0.05)

    began = time.monotonic()
    with served(drip) as url, pytest.raises(Unanswered, match="did not finish"):
        sensor_at(url, airgradient).sample(0.5)
    assert time.monotonic() - began < 2


def test_a_body_that_is_cut_short_is_garbage(airgradient: Profile) -> None:
    with served(body(b'{"pm02": 3', 200, {"Content-Length": "100"})) as url, pytest.raises(Garbage) as garbage:
        sensor_at(url, airgradient).sample(5)
    assert garbage.value.code == "truncated"


def test_nobody_there_is_refused_and_an_unknown_name_is_said_so(airgradient: Profile) -> None:
    with pytest.raises(Refused, match="nobody listens"):
        sensor_at(f"http://127.0.0.1:{free_port()}/", airgradient).sample(2)
    with pytest.raises(LinkFailed, match="cannot be resolved"):
        sensor_at("http://nowhere.invalid/", airgradient).sample(2)


def test_a_new_firmware_makes_a_new_schema(airgradient: Profile) -> None:
    firmware = ["3.1.1"]

    def handle(request: BaseHTTPRequestHandler) -> None:
        body(json.dumps({"pm02": 1, "firmware": firmware[0]}).encode())(request)

    with served(handle) as url:
        sensor = sensor_at(url, airgradient)
        sensor.sample(5)
        before = sensor.schema
        sensor.sample(5)
        assert sensor.schema is before
        firmware[0] = "3.1.21"
        sensor.sample(5)
        assert (sensor.schema.firmware, sensor.schema.channels) == ("3.1.21", before.channels)
