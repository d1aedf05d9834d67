"""Profiles: every mistake of a file in one run, by file, line and key, with what is allowed."""

from pathlib import Path

import pytest

from adapters.catalogue import Catalogue, shipped_dir
from adapters.document import Mistakes
from adapters.profile import FrameWire, Profile, load, parse
from readings.errors import Retry, Stop

GOOD = """
profile: test.device
models: [Device]
source: made up
wire: {grammar: frame, start: aa bb, length: 8, check: {sum: sum8, at: 7}}
fields:
  pm2_5: {at: 2, unit: mg/m3, scale: 0.01, range: [0, 5]}
  co2: {at: 4, unit: ppm}
""".lstrip()


def read(text: str | bytes) -> Profile:
    return parse(text.encode() if isinstance(text, str) else text, Path("profiles/test/device.yaml"))


def mistakes(text: str | bytes) -> list[str]:
    with pytest.raises(Mistakes) as wrong:
        read(text)
    return wrong.value.lines


def test_a_good_profile_is_read_and_its_limits_are_in_canonical_units() -> None:
    profile = read(GOOD)
    assert (profile.id, profile.maker, profile.model) == ("test.device", "test", "device")
    assert isinstance(profile.wire, FrameWire)
    assert profile.wire.start == b"\xaa\xbb"
    assert profile.fields["pm2_5"].range == (0, 5000)
    assert profile.numbers == ("pm2_5", "co2")
    assert len(profile.sha256) == 64


def test_all_mistakes_come_in_one_run_each_with_its_line_and_what_is_allowed() -> None:
    lines = mistakes("""profile: test.other
models: []
link: {baud: 9601, party: none}
ask: 4z
probe: yes
wire: {grammar: frame, start: aa bb, length: 8, check: {sum: sum99, at: 40}}
stats: 1
states: {cold: {at: 1, bytes: 00}}
fields:
  pm2_5: {at: 2, unit: ug/m4, range: [3, 1]}
  pm10: {at: 7, unit: ug/m3}
  pm25: {at: 2, unit: ug/m3}
  pm10: {at: 3}
doubts: {odd: {zero: [pm1_0]}}
""")
    expected = [
        ("1: profile", "test/other.yaml"),
        ("2: models", "the names printed"),
        ("3: link.baud", "9600"),
        ("3: link.party", "`parity`"),
        ("4: ask", "hex"),
        ("5: probe", "true, false"),
        ("6: wire.check.sum", "crc16_modbus"),
        ("7: stats", "`status`"),
        ("8: states.cold", "warming_up"),
        ("10: fields.pm2_5.unit", "'mg/m3'"),
        ("10: fields.pm2_5.range", "low below high"),
        ("12: fields.pm25", "readings/parameters.yaml"),
        ("13: fields.pm10", "line 11"),
        ("14: doubts.odd", "pm2_5, pm10"),
    ]
    for place, hint in expected:
        assert any(f"device.yaml:{place}: " in line and hint in line for line in lines), (place, hint, lines)


def test_a_field_behind_the_frame_and_a_step_that_is_missing_are_told() -> None:
    assert any("lies behind the frame" in line for line in mistakes(GOOD.replace("at: 4", "at: 7")))
    assert any("precision" in line for line in mistakes(GOOD.replace("co2: {at: 4", "co2: {at: 3, type: f32")))
    assert any("its scale" in line for line in mistakes(GOOD.replace("co2: {at: 4", "co2: {at: 4, step: 1")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "the file is empty"),
        (b"- a\n", "no mapping"),
        (b"profile:\tx\n", "a tab"),
        (b"\xef\xbb\xbfprofile: x\n", "byte order mark"),
        (b"profile: x\r\n", "carriage return"),
        (b"profile: x\nmodels: [\xe9]\n", "device.yaml:2: not UTF-8"),
        (b"a: &x [1]\nb: *x\n", "alias"),
        (b"a: !!python/object:os.system x\n", "tag"),
        (b"a: " + b"[" * 100 + b"]" * 100, "too deep"),
        (b"a: " + b"[" * 100_000, "too deep"),
        (b"#" * 2_000_000, "at most 1048576"),
        (b"a: 'x\n", "not YAML"),
        (b"a: 1\n---\nb: 2\n", "not YAML"),
        (b"? [a]\n: 1\n", "a key that is no word"),
    ],
)
def test_what_is_no_plain_yaml_is_refused_by_name(text: bytes, said: str) -> None:
    assert any(said in line for line in mistakes(text)), mistakes(text)


def test_an_alias_bomb_costs_nothing() -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    assert mistakes(bomb)


def test_a_grammar_of_a_later_version_is_named_as_such() -> None:
    assert any("not in this version" in line for line in mistakes(GOOD.replace("grammar: frame", "grammar: xml")))


def test_a_unit_of_another_kind_is_refused_with_what_leads_there() -> None:
    assert any("'degC' cannot become 'ug/m3'" in line and "mg/m3" in line for line in mistakes(GOOD.replace("mg/m3", "degC")))


def test_an_unreadable_file_may_become_readable(tmp_path: Path) -> None:
    with pytest.raises(Retry):
        load(tmp_path / "absent.yaml")


def test_the_shipped_profiles_have_no_mistakes(catalogue: Catalogue) -> None:
    assert catalogue.check() == []
    assert catalogue.ids() == sorted(catalogue.ids())
    assert {"plantower.pms5003", "eastron.sdm230", "airgradient.local"} <= set(catalogue.ids())


def test_an_unknown_profile_is_answered_with_near_ones(catalogue: Catalogue) -> None:
    with pytest.raises(Stop, match=r"did you mean plantower\.pms5003") as stop:
        catalogue.get("plantower.pms5oo3")
    assert "not in this version" in str(stop.value)


def test_further_folders_add_profiles_and_never_replace_one_in_silence(tmp_path: Path) -> None:
    place = tmp_path / "test" / "device.yaml"
    place.parent.mkdir()
    place.write_text(GOOD)
    assert Catalogue.load([tmp_path, shipped_dir()]).get("test.device").models == ("Device",)
    (tmp_path / "plantower").mkdir()
    (tmp_path / "plantower" / "pms5003.yaml").write_text(GOOD)
    (tmp_path / "lost.yaml").write_text(GOOD)
    with pytest.raises(Mistakes) as wrong:
        Catalogue.load([tmp_path])
    assert any("another model name" in line for line in wrong.value.lines)
    assert any("nobody would find it" in line for line in wrong.value.lines)
    with pytest.raises(Stop, match="no such folder"):
        Catalogue.load([tmp_path / "absent"])


def test_a_broken_profile_disturbs_only_who_asks_for_it(tmp_path: Path) -> None:
    place = tmp_path / "test" / "device.yaml"
    place.parent.mkdir()
    place.write_text("profile: test.device\n")
    catalogue = Catalogue.load([tmp_path])
    catalogue.get("plantower.pms5003")
    with pytest.raises(Mistakes):
        catalogue.get("test.device")
    assert catalogue.check(["test.device"])
