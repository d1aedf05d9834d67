"""Devices that post to the gateway: over real sockets, with a token, an allow list and a cap; what hangs or lies harms nobody."""

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from adapters.catalogue import Catalogue
from adapters.profile import Profile
from adapters.sensor import Sensor, open_sensor
from adapters.transport import listen
from adapters.transport.base import Address, Busy, Garbage, NothingNew, Overdue, parse_address
from tests.servers import free_port, wait_until

BODY = {"wifi": -51, "pm02": 12.5, "rco2": 447, "atmp": 23.1, "rhum": 43, "firmware": "3.1.9", "serialno": "d83bda1b74c8"}
PATH = "/airgradient/5ecre7"


@pytest.fixture
def box(catalogue: Catalogue) -> Profile:
    return catalogue.get("airgradient.local")


@pytest.fixture
def port() -> int:
    return free_port()


def address_at(port: int, path: str = PATH, allow: tuple[str, ...] = ()) -> Address:
    heard = parse_address(f"listen:{path}", Path())
    return msgspec.structs.replace(heard, host="127.0.0.1", port=port, allow=allow)


@pytest.fixture
def sensor(box: Profile, port: int) -> Iterator[Sensor]:
    made = open_sensor(box, address_at(port), sensor_id="push", every_s=60)
    made.open()
    yield made
    made.close()


def post(port: int, body: bytes, path: str = PATH, method: str = "POST") -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, method=method)  # our own server
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def raw(port: int, said: bytes, *, end: bool = False) -> bytes:
    """Everything that comes back to these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as link:
        link.sendall(said)
        if end:
            link.shutdown(socket.SHUT_WR)
        heard = b""
        while piece := link.recv(4096):
            heard += piece
    return heard


def value(sensor: Sensor, name: str, scaled: tuple[int | None, ...]) -> float | None:
    for channel, number in zip(sensor.schema.channels, scaled, strict=True):
        if channel.parameter == name:
            return None if number is None else number * 10.0**channel.exponent
    raise KeyError(name)


def test_a_post_is_a_sample_at_the_moment_of_its_arrival(sensor: Sensor, port: int) -> None:
    before = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert post(port, json.dumps(BODY).encode()) == 200
    answer = sensor.sample(1)
    assert value(sensor, "pm2_5", answer.values) == pytest.approx(12.5)
    assert before < answer.arrived_mono_ns < time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    assert sensor.schema.firmware == "3.1.9"


def test_nothing_new_is_neither_an_answer_nor_a_failure(sensor: Sensor, port: int) -> None:
    with pytest.raises(NothingNew):
        sensor.sample(0.05)
    post(port, json.dumps(BODY).encode())
    sensor.sample(1)
    with pytest.raises(NothingNew):
        sensor.sample(0.05)


def test_who_waits_is_woken_by_the_post(sensor: Sensor, port: int) -> None:
    later = threading.Timer(0.2, post, (port, json.dumps(BODY).encode()))
    later.start()
    began = time.monotonic()
    sensor.sample(10)
    assert time.monotonic() - began < 3
    later.join()


def test_a_device_that_has_stopped_posting_is_overdue(box: Profile, port: int) -> None:
    sensor = open_sensor(box, address_at(port), sensor_id="push", every_s=0.05)
    with pytest.raises(Overdue, match="nothing was posted") as overdue:
        sensor.sample(0.3)
    assert (overdue.value.state, "5ecre7" in str(overdue.value)) == ("no_answer", False)
    sensor.close()


def test_several_sensors_share_the_door_each_at_its_path(box: Profile, port: int) -> None:
    one, two = (open_sensor(box, address_at(port, path), sensor_id="push", every_s=60) for path in ("/a/1", "/b/2"))
    one.open()
    two.open()
    post(port, json.dumps(BODY).encode(), "/b/2")
    with pytest.raises(NothingNew):
        one.sample(0.05)
    assert two.sample(1).raw
    two.close()
    assert post(port, b"{}", "/b/2") == 404
    assert post(port, b"{}", "/a/1") == 200
    one.close()
    with pytest.raises(urllib.error.URLError):
        post(port, b"{}", "/a/1")


def test_garbage_is_told_by_its_name_and_the_next_post_is_good(sensor: Sensor, port: int) -> None:
    assert post(port, b"<html>") == 200
    with pytest.raises(Garbage, match="not_json"):
        sensor.sample(1)
    post(port, json.dumps(BODY).encode())
    assert sensor.sample(1).counted == {"not_json": 1}


@pytest.mark.parametrize(
    ("path", "method", "status"),
    [("/airgradient/wrong", "POST", 404), ("/", "POST", 404), (f"{PATH}/x", "POST", 404), (PATH, "GET", 405), (PATH, "PUT", 200)],
)
def test_only_posts_to_a_known_path_are_heard(sensor: Sensor, port: int, path: str, method: str, status: int) -> None:
    assert post(port, json.dumps(BODY).encode(), path, method) == status


def test_a_network_that_is_not_allowed_is_refused_before_it_is_read(box: Profile, port: int) -> None:
    sensor = open_sensor(box, address_at(port, allow=("192.168.1.0/24",)), sensor_id="push", every_s=60)
    sensor.open()
    assert b" 403 " in raw(port, b"POST " + PATH.encode() + b" HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
    with pytest.raises(NothingNew):
        sensor.sample(0.05)
    sensor.close()


@pytest.mark.parametrize(
    ("client", "heard"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("192.168.1.7", True),
        ("::ffff:10.1.2.3", True),
        ("fe80::1%eth0", True),
        ("8.8.8.8", False),
        ("2001:db8::1", False),
        ("nonsense", False),
    ],
)
def test_without_a_list_this_machine_and_private_networks_are_heard(client: str, heard: bool) -> None:
    assert listen.Door("127.0.0.1", 1).allows(client) is heard


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"", b" 411 "),
        (b"Content-Length: x\r\n", b" 411 "),
        (b"Content-Length: -1\r\n", b" 411 "),
        (b"Transfer-Encoding: chunked\r\n", b" 411 "),
        (b"Content-Length: 65537\r\n", b" 413 "),
        (b"Content-Length: 99999999999999999999\r\n", b" 413 "),
    ],
)
def test_a_body_without_a_fair_length_is_not_read(sensor: Sensor, port: int, headers: bytes, status: bytes) -> None:
    assert status in raw(port, b"POST " + PATH.encode() + b" HTTP/1.1\r\n" + headers + b"\r\n")


def test_a_cut_body_is_no_sample(sensor: Sensor, port: int) -> None:
    assert b" 400 " in raw(port, b"POST " + PATH.encode() + b" HTTP/1.1\r\nContent-Length: 50\r\n\r\n{", end=True)
    with pytest.raises(NothingNew):
        sensor.sample(0.05)


def test_who_drips_is_cut_off_and_others_are_served_meanwhile(port: int) -> None:
    door, box = listen.Door("127.0.0.1", port, post_s=0.5), listen.Mailbox(PATH)
    door.open(box)
    drips = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(listen.MOST_AT_ONCE + 4)]
    for drip in drips:
        drip.sendall(b"POST / HT")

    def served() -> bool:
        try:
            return post(port, json.dumps(BODY).encode()) == 200
        except OSError:
            return False

    wait_until(served, "a post while others drip")
    assert box.take(1) is not None
    for drip in drips:
        drip.close()
    door.close(box)


def test_noise_does_not_stop_the_server(sensor: Sensor, port: int) -> None:
    for noise in (b"\x00\xff" * 100, b"\r\n\r\n", b"GET", b"\x16\x03\x01\x02\x00", b"POST " + b"/" * 70_000):
        with socket.create_connection(("127.0.0.1", port), timeout=5) as link:
            link.sendall(noise)
    assert post(port, json.dumps(BODY).encode()) == 200


def test_a_port_in_use_is_busy_and_taken_when_it_is_free(box: Profile, port: int) -> None:
    sensor = open_sensor(box, address_at(port), sensor_id="push", every_s=60)
    with socket.create_server(("127.0.0.1", port)), pytest.raises(Busy, match="in use"):
        sensor.open()
    sensor.open()
    assert post(port, json.dumps(BODY).encode()) == 200
    sensor.close()
