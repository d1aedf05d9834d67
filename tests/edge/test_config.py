"""gateway.yaml as people write it: each folder of tests/cases holds one file and what is said about it, line by line."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.document import Mistakes
from edge.config import load, load_credential, load_network, whereabouts
from readings.errors import Stop

CASES = sorted(path.parent for path in Path(__file__).parent.parent.glob("cases/*/gateway.yaml"))
PM = '{id: pm, profile: plantower.pms5003, at: "serial:/dev/ttyUSB0"}'
CREDENTIAL = '{"gateway":"lagos-01","password":"hunter2","key":"' + "a1" * 32 + '","key_version":3,"ca":null}'


def written(folder: Path, text: str) -> Path:
    path = folder / "gateway.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("case", CASES, ids=lambda path: path.name)
def test_what_is_said_about_each_file_is_the_expected(case: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(case)
    try:
        load(Path("gateway.yaml"))
        said = ["ok"]
    except Mistakes as mistakes:
        said = mistakes.lines
    assert said == (case / "expected").read_text().splitlines()


def test_three_lines_are_a_gateway_and_the_rest_has_defaults(tmp_path: Path) -> None:
    config = load(written(tmp_path, f"gateway: lagos-01\nsensors:\n  - {PM}\n"))
    assert config.site.name == config.gateway == "lagos-01"
    assert config.hub is None
    assert (config.link.mode, config.link.flush_s, config.link.keepalive_s) == ("open", 10.0, 30)
    assert (str(config.store.path), config.store.quota_bytes) == ("/var/lib/harmattan/outbox.db", 2 << 30)
    assert str(config.control) == "/run/harmattan/edge.sock"
    (sensor,) = config.sensors
    assert (sensor.id, sensor.profile.id, sensor.every_s) == ("pm", "plantower.pms5003", 60.0)
    assert sensor.address.port_key == "serial:/dev/ttyUSB0"


def test_relative_paths_start_at_the_files_folder(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    text = """
gateway: lagos-01
hub: {mqtt: ["mqtts://hub.example.org"], credential: credential}
store: {path: var/outbox.db, quota: 1.5GiB, when_full: stop}
control: edge.sock
profiles: [more]
sensors: [{id: pm, profile: plantower.pms5003, at: "serial:ttys/pm", every: 2s}]
"""
    config = load(written(tmp_path, text))
    assert config.hub is not None
    assert config.hub.credential == tmp_path / "credential"
    assert config.store.path == tmp_path / "var/outbox.db"
    assert config.store.quota_bytes == 3 << 29
    assert config.control == tmp_path / "edge.sock"
    assert config.sensors[0].address.path == tmp_path / "ttys/pm"


@pytest.mark.parametrize(
    ("link", "told"),
    [
        ("open", ("open", 10.0, 30)),
        ("metered", ("metered", 600.0, 900)),
        ("{mode: metered, flush: 5min, keepalive: 10min}", ("metered", 300.0, 600)),
        ("{flush: 1500ms}", ("open", 1.5, 30)),
    ],
)
def test_a_link_is_a_word_or_its_parts(tmp_path: Path, link: str, told: tuple[str, float, int]) -> None:
    config = load(written(tmp_path, f"gateway: lagos-01\nlink: {link}\nsensors: [{PM}]\n"))
    assert (config.link.mode, config.link.flush_s, config.link.keepalive_s) == told


def test_plain_mqtt_goes_anywhere_by_explicit_wish(tmp_path: Path) -> None:
    hub = '{mqtt: ["mqtt://hub.example.org", "mqtts://other.example.org:8883"], insecure: true}'
    config = load(written(tmp_path, f"gateway: lagos-01\nhub: {hub}\nsensors: [{PM}]\n"))
    assert config.hub is not None
    assert config.hub.mqtt == ("mqtt://hub.example.org", "mqtts://other.example.org:8883")


def test_names_are_taken_as_they_are_written(tmp_path: Path) -> None:
    text = 'gateway: "010"\nsite: {name: 2026-11-24}\nsensors: [{id: "1_000", profile: plantower.pms5003, at: "serial:/dev/a"}]\n'
    config = load(written(tmp_path, text))
    assert (config.gateway, config.site.name, config.sensors[0].id) == ("010", "2026-11-24", "1_000")


def test_a_profile_with_mistakes_is_named_by_its_own_file_and_line(tmp_path: Path) -> None:
    profile = tmp_path / "profiles/acme/dust.yaml"
    profile.parent.mkdir(parents=True)
    profile.write_text("profile: acme.dust\nmodels: [Dust]\nwire: {grammar: telepathy}\nfields: {}\n")
    text = 'gateway: lagos-01\nprofiles: [profiles]\nsensors: [{id: pm, profile: acme.dust, at: "serial:/dev/a", every: 5}]\n'
    with pytest.raises(Mistakes) as told:
        load(written(tmp_path, text))
    assert any(line.startswith(f"{profile}:3: wire.grammar") for line in told.value.lines)
    assert any("`5` has no unit" in line for line in told.value.lines)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Stop, match=r"gateway\.yaml: there is no such file"):
        load(tmp_path / "gateway.yaml")


def test_a_folder_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(Stop, match="is a directory"):
        load(tmp_path)


def test_deep_nesting_is_refused_and_does_not_exhaust_the_stack(tmp_path: Path) -> None:
    with pytest.raises(Mistakes, match=r"not YAML: .*nesting"):
        load(written(tmp_path, "gateway: " + "[" * 100_000))


def test_a_daemon_is_found_even_from_a_file_with_mistakes(tmp_path: Path) -> None:
    found = whereabouts(written(tmp_path, "gateway: lagos-01\nstore: {path: o.db}\ncontrol: e.sock\nsensors: nonsense\n"))
    assert (found.gateway, found.store, found.control, found.has_hub) == (
        "lagos-01",
        tmp_path / "o.db",
        tmp_path / "e.sock",
        False,
    )


def test_a_network_for_the_simulator_is_sensors_and_a_seed(tmp_path: Path) -> None:
    network = load_network(written(tmp_path, f"seed: 7\nsensors: [{PM}]\n"))
    assert (network.seed, network.sensors[0].id) == (7, "pm")


def credential(folder: Path, text: str = CREDENTIAL, mode: int = 0o600) -> Path:
    path = folder / "credential"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_a_credential_is_read_and_never_shown(tmp_path: Path) -> None:
    held = load_credential(credential(tmp_path), "lagos-01")
    assert held is not None
    assert (held.password, held.key, held.key_version, held.ca) == ("hunter2", bytes.fromhex("a1" * 32), 3, None)
    assert "hunter2" not in repr(held)
    assert "a1a1" not in repr(held)


def test_no_credential_yet_is_no_mistake(tmp_path: Path) -> None:
    assert load_credential(tmp_path / "credential", "lagos-01") is None


def test_a_credential_that_others_can_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Stop, match=r"its mode is 0644, so others can read it; chmod 600"):
        load_credential(credential(tmp_path, mode=0o644), "lagos-01")


def test_another_gateways_credential_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Stop, match="it belongs to gateway lagos-01, this one is lagos-02"):
        load_credential(credential(tmp_path), "lagos-02")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        CREDENTIAL[:-9],
        CREDENTIAL.replace("a1", "zz"),
        CREDENTIAL.replace("a1", ""),
        CREDENTIAL.replace("hunter2", ""),
    ],
)
def test_a_damaged_credential_is_refused_without_showing_it(tmp_path: Path, text: str) -> None:
    with pytest.raises(Stop, match="enrol again") as told:
        load_credential(credential(tmp_path, text), "lagos-01")
    assert "hunter2" not in str(told.value)
    assert "a1a1" not in str(told.value)


def test_a_time_zone_is_an_iana_name(tmp_path: Path) -> None:
    assert (
        load(written(tmp_path, f"gateway: lagos-01\nsite: {{zone: Africa/Lagos}}\nsensors: [{PM}]\n")).site.zone == "Africa/Lagos"
    )
    with pytest.raises(Mistakes, match=r"site.zone: `GMT plus 1` is no time zone; .*write an IANA name, as in Africa/Lagos"):
        load(written(tmp_path, f"gateway: lagos-01\nsite: {{zone: GMT plus 1}}\nsensors: [{PM}]\n"))


WHOLE = (
    b'gateway: a-1\nsite: {lat: 6.5, lon: 3.3}\nhub: {mqtt: ["mqtts://h:1"]}\nlink: {flush: 5min}\n'
    b'sensors:\n  - {id: pm, profile: plantower.pms5003, at: "serial:/dev/a", every: 60s}\n'
)
SCRAPS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b": ",
    b"\n",
    b"  ",
    b"- ",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!x ",
    b"? ",
    b"|\n",
    b"'",
    b'"',
    b"\0",
    b"\xff",
    b"~",
]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 8), st.sampled_from(SCRAPS)), min_size=1, max_size=4))
def test_whatever_is_typed_is_a_mistake_and_never_a_crash(tmp_path: Path, slips: list[tuple[int, int, bytes]]) -> None:
    text = bytearray(WHOLE)
    for place, gone, scrap in slips:
        text[place : place + gone] = scrap
    path = tmp_path / "gateway.yaml"
    path.write_bytes(text)
    for read in (load, whereabouts):
        with contextlib.suppress(Stop):
            read(path)
