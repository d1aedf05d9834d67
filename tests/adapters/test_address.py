"""The `at:` of a sensor: what is meant, what is refused, and what is said then."""

from pathlib import Path

import pytest

from adapters.catalogue import Catalogue
from adapters.sensor import fits, open_sensor
from adapters.transport.base import BadAddress, parse_address
from readings.errors import Stop

HERE = Path("/etc/harmattan")


@pytest.mark.parametrize(
    ("text", "port_key", "identity"),
    [
        ("serial:/dev/ttyUSB0", "serial:/dev/ttyUSB0", ("serial:/dev/ttyUSB0", None)),
        ("serial:/dev/../dev/ttyUSB0", "serial:/dev/ttyUSB0", ("serial:/dev/ttyUSB0", None)),
        ("serial:ports/pm", "serial:/etc/harmattan/ports/pm", ("serial:/etc/harmattan/ports/pm", None)),
        ("replay:c/a.capture.json", "replay:/etc/harmattan/c/a.capture.json", ("replay:/etc/harmattan/c/a.capture.json", None)),
        ("modbus-rtu:/dev/ttyAMA0?unit=254", "serial:/dev/ttyAMA0", ("serial:/dev/ttyAMA0", 254)),
        ("modbus-rtu:bus?baud=19200&parity=even", "serial:/etc/harmattan/bus", ("serial:/etc/harmattan/bus", 1)),
        ("listen:/airrohr/token", "listen:127.0.0.1:8180/airrohr/token", ("/airrohr/token", None)),
        ("modbus-tcp://192.168.1.20:502?unit=1", "modbus-tcp:192.168.1.20:502", ("modbus-tcp:192.168.1.20:502", 1)),
        ("modbus-tcp://meter.local", "modbus-tcp:meter.local:502", ("modbus-tcp:meter.local:502", 1)),
        ("modbus-tcp://[::1]:1502?unit=0", "modbus-tcp:::1:1502", ("modbus-tcp:::1:1502", 0)),
        ("http://192.168.1.30/measures/current", "http:192.168.1.30:80", ("http://192.168.1.30:80/measures/current", None)),
        ("http://Box:8080", "http:box:8080", ("http://box:8080/", None)),
        ("https://box/a?b=1", "https:box:443", ("https://box:443/a?b=1", None)),
    ],
)
def test_an_address_says_what_must_not_be_used_twice(text: str, port_key: str, identity: tuple[str, int | None]) -> None:
    address = parse_address(text, HERE)
    assert (address.port_key, address.identity) == (port_key, identity)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("/dev/ttyUSB0", "write serial:/dev/ttyUSB0"),
        ("ttyUSB0", "write serial:/dev/ttyUSB0"),
        ("a.capture.json", "write replay:a.capture.json"),
        ("192.168.1.20", "modbus-tcp://HOST"),
        ("", "allowed: serial:"),
        ("serial:", "names no path"),
        ("serial://dev/ttyUSB0", "two slashes"),
        ("serial:/dev/tty USB0", "blank"),
        ("com:3", "allowed: serial:"),
        ("modbus-tcp:192.168.1.20", "names no host"),
        ("modbus-tcp://", "no host"),
        ("modbus-tcp://h:0", "from 1 to 65535"),
        ("modbus-tcp://h:", "from 1 to 65535"),
        ("modbus-tcp://h:99999", "from 1 to 65535"),
        ("modbus-tcp://h:x", "from 1 to 65535"),
        ("modbus-tcp://h:502/path", "has a path"),
        ("modbus-tcp://h?unit=256", "from 0 to 255"),
        ("modbus-tcp://h?unit=-1", "from 0 to 255"),
        ("modbus-tcp://h?unit=", "from 0 to 255"),
        ("modbus-tcp://h?slave=1", "?unit=1"),
        ("modbus-tcp://h?unit=1&unit=2", "twice"),
        ("modbus-tcp://192.168.1.300", "0 to 255"),
        ("http:/box", "names no host"),
        ("http://user:secret@box/", "user or password"),
        ("http://box/#top", "#"),
        ("modbus-rtu:?unit=1", "names no port"),
        ("modbus-rtu:/dev/ttyAMA0?baud=9601", "one of 1200, 2400"),
        ("modbus-rtu:/dev/ttyAMA0?parity=mark", "one of none, even, odd"),
        ("modbus-rtu:/dev/ttyAMA0?speed=9600", "?unit=1&baud=1200"),
        ("modbus-tcp://h?baud=9600", "`baud` is unknown"),
        ("modbus-rtu:/dev/ttyAMA0?unit=999", "from 0 to 255"),
        ("listen:airrohr", "names no path"),
        ("listen:/airrohr?token=1", "has a `?`"),
    ],
)
def test_what_cannot_be_opened_is_refused_with_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(BadAddress) as refused:
        parse_address(text, HERE)
    assert said in str(refused.value)


def test_a_profile_at_an_address_of_another_kind_is_refused(catalogue: Catalogue) -> None:
    profile = catalogue.get("plantower.pms5003")
    address = parse_address("http://box/", HERE)
    assert "serial:/dev/ttyUSB0" in fits(profile, address)
    with pytest.raises(Stop, match="speaks frames"):
        open_sensor(profile, address, sensor_id="pm", every_s=60)
    for at in ("serial:/dev/ttyUSB0", "replay:x.json"):
        assert fits(profile, parse_address(at, HERE)) == ""
    assert fits(catalogue.get("eastron.sdm230"), parse_address("modbus-tcp://h", HERE)) == ""
    assert fits(catalogue.get("airgradient.local"), parse_address("https://h", HERE)) == ""
