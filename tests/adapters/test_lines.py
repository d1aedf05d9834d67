"""Grammar lines: text from serial instruments with everything that a line does to it."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.catalogue import Catalogue
from adapters.decode import Fault, Reading, Result, StreamDecoder, decoder, encoder, linewriter, plan_of
from adapters.decode.lines import LinesDecoder
from adapters.decode.tails import SEALS, vaisala_crc3
from adapters.document import Mistakes
from adapters.profile import LinesWire, Message, Profile, parse
from adapters.transport.replay import recorded
from adapters.vectors import judge, read
from readings.errors import Drop

CATALOGUE = Catalogue.load()
PROFILES = [CATALOGUE.get(name) for name in CATALOGUE.ids()]
SPOKEN = [profile for profile in PROFILES if isinstance(profile.wire, LinesWire)]
GPS, BAM, WXT, DYLOS, BLOCK = (
    CATALOGUE.get(name) for name in ("gps.nmea", "metone.bam1020", "vaisala.wxt5xx", "dylos.dc1700", "generic.bayern-hessen")
)
HEADER = b"Time,Conc(mg/m3),Qtot(m3),WS(MPS),WD(DEG),BP(mm),RH(%),Delta(C),AT(C),E,U,M,I,L,R,N,F,P,D,C,T\r\n"
ROW = b"01/30/08 16:00, 0.084, 0.834, 0.0,0,0,30,57.0,27.1,0,0,0,0,0,0,0,0,0,0,0,0,\r\n"
WIND = b"0r1,Dn=236D,Dm=283D,Dx=031D,Sn=0.0M,Sm=1.0M,Sx=2.2MJ\\Y\r\n"


def nmea(text: str) -> bytes:
    return b"$" + text.encode() + b"*" + SEALS["xor_hex"](text.encode()) + b"\r\n"


GGA = nmea("GPGGA,184353.07,1929.045,S,02410.506,E,1,04,2.6,100.00,M,-33.9,M,,0000")
RMC = nmea("GPRMC,184353.07,A,1929.045,S,02410.506,E,010.0,054.7,191125,,,A")
BLOCKS = b"\x02ST843 K\x0352"


_READERS: dict[str, StreamDecoder] = {}


def heard(profile: Profile, *pieces: bytes) -> list[Result]:
    """Of one reader for each profile: preparing one costs more than all its lines here."""
    reader = _READERS.get(profile.sha256) or _READERS.setdefault(profile.sha256, decoder(profile))
    return [result for piece in pieces for result in reader.feed(piece)] + reader.finish()


def readings(profile: Profile, *pieces: bytes) -> list[Reading]:
    return [result for result in heard(profile, *pieces) if isinstance(result, Reading)]


def codes(profile: Profile, *pieces: bytes) -> list[str]:
    return [result.code for result in heard(profile, *pieces) if isinstance(result, Fault)]


def streams(profile: Profile) -> list[bytes]:
    return [recorded(vector).raw for vector in read(Path(profile.file).with_suffix(".capture.json"))]


def shown(results: list[Result]) -> list[object]:
    return [(r.values, r.texts, r.flags, r.notes) if isinstance(r, Reading) else r for r in results]


@pytest.mark.parametrize("profile", SPOKEN, ids=lambda profile: profile.id)
def test_bytes_may_arrive_in_any_pieces(profile: Profile) -> None:
    stream = b"".join(streams(profile))
    whole, single = decoder(profile), decoder(profile)
    wanted = shown([*whole.feed(stream), *whole.finish()])
    assert shown([r for at in range(len(stream)) for r in single.feed(stream[at : at + 1])] + single.finish()) == wanted
    assert single.skipped == whole.skipped
    for cut in range(0, len(stream), 7):
        assert shown(heard(profile, stream[:cut], stream[cut:])) == wanted


KINDS = [(profile, part) for profile in SPOKEN for part in (None, *profile.messages.values()) if (part or profile).fields]


@pytest.mark.parametrize(("profile", "part"), KINDS, ids=[f"{profile.id}-{at}" for at, (profile, _) in enumerate(KINDS)])
@given(counts=st.lists(st.integers(1, 80), min_size=20, max_size=20))
@settings(max_examples=10)
def test_what_is_encoded_decodes_to_the_same_values(profile: Profile, part: Message | None, counts: list[int]) -> None:
    """Each number a whole count of its own steps; two numbers of one column are the same count."""
    plan = plan_of(profile, part)
    said: dict[str, float | int | str] = {}
    for name in plan.names:
        field = (part or profile).fields.get(name) or (profile.every[name] if part is None and profile is GPS else None)
        if field is not None:
            column = int(field.at) if isinstance(field.at, int) else len(said)
            scale = plan.scales[plan.names.index(name)]
            said[name] = scale.factor * counts[column % 20] * (field.step or 1.0) + scale.offset
    (result,) = heard(profile, linewriter.encoder(profile, part)(said))
    if not said:
        assert shown([result]) == [({}, {"block": "ST843 K"}, (), ())]
        return
    assert isinstance(result, Reading)
    assert {name: value for name, value in result.values.items() if value is not None} == pytest.approx(said, abs=2e-8)


@pytest.mark.parametrize("profile", SPOKEN, ids=lambda profile: profile.id)
@given(noise=st.lists(st.binary(max_size=200), max_size=5))
@settings(max_examples=25)
def test_no_bytes_make_the_reader_fail_or_grow(profile: Profile, noise: list[bytes]) -> None:
    reader = LinesDecoder(profile)
    wire = profile.wire
    assert isinstance(wire, LinesWire)
    for piece in noise:
        for result in reader.feed(piece):
            assert isinstance(result, (Reading, Fault))
        assert len(reader._open) <= wire.longest + len(wire.end) + 4
    reader.finish()


@pytest.mark.parametrize("profile", SPOKEN, ids=lambda profile: profile.id)
@given(edits=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.binary(max_size=3)), min_size=1, max_size=6))
@settings(max_examples=25)
def test_lines_that_lost_and_changed_bytes_only_give_faults_and_readings(
    profile: Profile, edits: list[tuple[int, int, bytes]]
) -> None:
    stream = bytearray(b"".join(streams(profile)))
    for at, lost, new in edits:
        stream[at : at + lost] = new
    for result in heard(profile, bytes(stream)):
        if isinstance(result, Reading):
            assert len(result.scaled) == len(result.flags)


@pytest.mark.parametrize(("profile", "line"), [(GPS, GGA), (GPS, RMC), (WXT, WIND), (BLOCK, BLOCKS)])
def test_a_single_flipped_bit_never_gives_a_wrong_value(profile: Profile, line: bytes) -> None:
    (good,) = readings(profile, line)
    for bit in range(8 * len(line)):
        flipped = bytearray(line)
        flipped[bit // 8] ^= 1 << bit % 8
        for reading in readings(profile, bytes(flipped)):
            for name, value in reading.values.items():
                assert value in (None, good.values[name])
            assert reading.texts.items() <= good.texts.items()


@pytest.mark.parametrize(("profile", "line"), [(GPS, GGA), (WXT, WIND), (BLOCK, BLOCKS), (BAM, HEADER + ROW)])
@given(garbage=st.binary(max_size=120))
@settings(max_examples=30)
def test_after_any_garbage_the_line_behind_the_next_one_is_found(profile: Profile, line: bytes, garbage: bytes) -> None:
    found = readings(profile, garbage + line + line)
    (good,) = readings(profile, line)
    assert (found[-1].values, found[-1].texts) == (good.values, good.texts)


def test_a_line_that_was_cut_costs_no_line_behind_it() -> None:
    assert len(readings(GPS, GGA[:30] + RMC)) == 1
    assert len(readings(GPS, RMC[:30] + GGA)) == 1
    assert codes(GPS, RMC[:30] + GGA) == ["truncated"]
    assert codes(GPS, b"\xff$$" + RMC) == []
    assert len(readings(GPS, b"\xff$$" + RMC)) == 1
    assert codes(BLOCK, b"\x02ST8\x03" + BLOCKS) == ["bad_checksum"]
    assert len(readings(BLOCK, b"\x02ST8\x03" + BLOCKS)) == 1
    assert len(readings(BLOCK, b"\x02ST8" + BLOCKS + b"\r\n" + BLOCKS)) == 2


def test_an_endless_line_is_counted_and_kept_nowhere() -> None:
    reader = LinesDecoder(DYLOS)
    for _ in range(100):
        assert reader.feed(b"7" * 1000) == []
    assert reader.skipped > 99_000
    (fault, reading) = reader.feed(b"\n1659,93\r\n")
    assert isinstance(fault, Fault)
    assert isinstance(reading, Reading)
    assert (fault.code, reader.skipped) == ("bad_length", 100_000)


def test_a_start_within_an_endless_line_begins_a_line() -> None:
    reader = LinesDecoder(GPS)
    reader.feed(b"\x00" * 5000)
    assert not [r for r in reader.feed(RMC) if isinstance(r, Fault)]
    assert [r.values["latitude"] for r in reader.finish() if isinstance(r, Reading)] == [pytest.approx(-19.484083333)]


def test_a_reader_that_joins_midway_drops_the_cut_line() -> None:
    reader = LinesDecoder(DYLOS, midway=True)
    assert reader.feed(b"59,93\r\n") == []
    assert reader.skipped == 5
    assert len(reader.feed(b"1614,98\r\n")) == 1
    reader.reset()
    assert len(reader.feed(b"Device information : DC1700 v 2.08\r\n336,0\r\n")) == 1


def test_a_reader_that_joins_midway_keeps_what_shows_that_it_is_whole() -> None:
    assert len(LinesDecoder(WXT, midway=True).feed(WIND)) == 1
    assert len(LinesDecoder(BAM, midway=True).feed(HEADER + ROW)) == 1


def test_the_instruments_own_header_gives_columns_and_units() -> None:
    (mine,) = readings(BAM, HEADER + ROW)
    (other,) = readings(BAM, b"Time,AT(F),Conc(ug/m3)\r\n01/30/08 16:00,80.78,84\r\n")
    assert mine.values["pm"] == other.values["pm"] == 84
    assert other.values["temperature"] == pytest.approx(mine.values["temperature"])
    assert other.values["wind_speed"] is None
    assert mine.texts == other.texts == {"timestamp_local": "2008-01-30T16:00:00"}


def test_a_header_in_an_unknown_unit_gives_no_number() -> None:
    (reading,) = readings(BAM, HEADER.replace(b"Conc(mg/m3)", b"Conc(grain/ft3)") + ROW)
    assert (reading.values["pm"], reading.values["temperature"]) == (None, 27.1)
    assert reading.notes == ("unknown_unit:Conc",)


def test_rows_without_their_header_are_told() -> None:
    assert codes(BAM, ROW) == ["bad_header"]
    assert codes(BAM, b"Time,foo,bar\r\n") == ["schema_mismatch"]
    assert codes(BAM, HEADER + b"01/30/08 16:00, 0.084\r\n") == ["bad_length"]
    reader = LinesDecoder(BAM)
    reader.feed(HEADER)
    reader.reset()  # another instrument may be there now
    assert [r.code for r in reader.feed(ROW) if isinstance(r, Fault)] == ["bad_header"]


def test_missing_zero_and_unreadable_are_three_things() -> None:
    row = ROW.replace(b" 0.0,0,0,30", b" 0.0,,x9,30")
    (reading,) = readings(BAM, HEADER + row)
    assert (reading.values["wind_speed"], reading.values["wind_direction"], reading.values["pressure"]) == (0.0, None, None)
    assert reading.notes == ("bad_field:BP",)
    assert codes(BAM, HEADER + b"y,x, x,x,x,x,x,x,x,0,0,0,0,0,0,0,0,0,0,0,0\r\n") == ["bad_field"]
    assert codes(BAM, HEADER + b",,,,,,,,,,,,,,,,,,,,\r\n") == ["no_data"]


def test_an_error_letter_makes_the_values_suspect() -> None:
    (reading,) = readings(BAM, HEADER + ROW.replace(b"27.1,0,", b"27.1,1,"))
    assert reading.notes == ("alarm:E",)
    assert set(reading.flags) == {3, 9}


def test_sentences_of_one_second_are_one_reading() -> None:
    (reading,) = readings(GPS, GGA + RMC)
    assert None not in reading.values.values()
    assert reading.texts == {"timestamp": "2025-11-19T18:43:53.070Z"}


def test_a_receiver_that_sends_one_sentence_is_not_waited_for_twice() -> None:
    reader = decoder(GPS)
    assert reader.feed(RMC) == []
    assert len(reader.feed(nmea("GPRMC,184354.07,A,1929.045,S,02410.506,E,010.0,054.7,191125,,,A"))) == 2
    assert len(reader.feed(nmea("GPRMC,184355.07,A,1929.045,S,02410.506,E,010.0,054.7,191125,,,A"))) == 1
    assert len(reader.feed(GGA)) == 0


def test_any_talker_is_understood() -> None:
    assert readings(GPS, nmea("GNRMC,123519.00,A,4807.038,N,01131.000,E,,,230394,,"))[0].values["latitude"] == pytest.approx(
        48.1173
    )


@pytest.mark.parametrize(
    ("date", "year"), [("010180", "1980"), ("311299", "1999"), ("010100", "2000"), ("251126", "2026"), ("311279", "2079")]
)
def test_two_digits_of_a_year_are_those_since_the_first_satellite(date: str, year: str) -> None:
    (reading,) = readings(GPS, nmea(f"GPRMC,123519,A,4807.038,N,01131.000,E,,,{date},,"))
    assert reading.texts["timestamp"].startswith(f"{year}-")


@pytest.mark.parametrize(
    "place", ["9107.038,N,01131.0,E", "4860.000,N,01131.0,E", "4807.038,X,01131.0,E", "4807.038,,,", "48-7.038,N,011,E"]
)
def test_a_place_that_is_none_is_missing(place: str) -> None:
    for reading in readings(GPS, nmea(f"GPRMC,123519,A,{place},1.0,,230394,,")):
        assert reading.values["latitude"] is None
        assert "bad_field:3" in reading.notes


def test_the_last_line_needs_no_end_where_its_checksum_shows_that_it_is_whole() -> None:
    assert len(readings(GPS, GGA.rstrip())) == 1
    assert len(readings(WXT, WIND.rstrip())) == 1
    assert codes(DYLOS, b"1614,98") == ["truncated"]
    assert codes(GPS, GGA[:-6]) == ["truncated"]


def test_letters_behind_numbers_are_their_units() -> None:
    (reading,) = readings(WXT, b"0R0,Sm=36.0K,Ta=68.0F,Pa=1.0B,Rc=1.00I,Ua=50.0Q,Dm=10.0#\r\n")
    values = {name: value for name, value in reading.values.items() if value is not None}
    assert values == pytest.approx({"wind_speed": 10.0, "temperature": 20.0, "pressure": 1000.0, "rain_accumulated": 25.4})
    assert reading.notes == ("invalid:wind_direction", "bad_field:Ua")


def test_a_key_that_stands_there_twice_is_not_read() -> None:
    (reading,) = readings(WXT, b"0R0,Ta=20.0C,Ta=21.0C,Ua=50.0P\r\n")
    assert (reading.values["temperature"], reading.values["relative_humidity"]) == (None, 50.0)


@pytest.mark.parametrize(
    ("text", "crc"), [("0r1", "Goe"), ("0r2", "Gje"), ("0r5", "Kcd"), ("0r0", "Kld"), ("0tX,Use chksum Goe", "IU~")]
)
def test_vaisalas_printed_checksums_hold(text: str, crc: str) -> None:
    assert vaisala_crc3(text.encode()).decode() == crc
    vector = {"id": "x", "device": "algo.vaisala-crc3", "raw": {"text": text}, "expect": {"crc": {"value": crc, "unit": ""}}}
    assert judge(vector, CATALOGUE) == ""
    assert judge({**vector, "expect": {"crc": {"value": "abc"}}}, CATALOGUE) == f"crc is {crc}, expected abc"
    assert judge({**vector, "expect": {}}, CATALOGUE) == "`expect` says no crc"
    assert "not exactly one" in judge({**vector, "raw": {}}, CATALOGUE)


def test_a_time_that_is_none_is_not_encoded() -> None:
    with pytest.raises(Drop, match="no time"):
        encoder(GPS)({"timestamp": "yesterday"})


HERE = """
profile: gill.windsonic
models: [WindSonic]
source: the maker's manual
link: {baud: 19200}
wire: {grammar: lines, start: "\\x02", end: "\\x03", check: {sum: xor_hex, after_end: true}, count: 6, fixed: {0: Q, 4: "00"}}
status: {axis_failed: {at: 4, differs: "00", flag: fail}}
fields:
  wind_direction: {at: 1, unit: deg, step: 1, sentinels: [999]}
  wind_speed: {at: 2, unit: m/s, step: 0.01, unit_at: 3, units: {M: m/s, N: kn, P: mph, K: km/h}, sentinels: [999.99]}
"""

WORDS = """
profile: thermo.49c
models: [49C]
source: the maker's manual
ask: [{text: "o3\\r"}, {text: "pres\\r"}]
wire: {grammar: lines, end: "\\r", split: " ", begins: "o3 ", fixed: {0: o3}}
fields: {o3: {at: 1, unit: ppb, unit_at: 2, step: 0.001}}
messages:
  pressure:
    wire: {begins: "pres ", fixed: {0: pres}}
    fields: {pressure: {at: 1, unit: mmHg, unit_at: 2, units: {mm: mmHg}, step: 0.1}}
  bench:
    wire: {begins: "bench temp ", fixed: {0: bench, 1: temp}}
    fields: {temperature_internal: {at: 2, unit: degC, step: 0.1}}
  flags: {wire: {begins: "flags "}, status: {alarm: {at: 1, type: hex, bit: 27}}, fields: {status_register: {at: 1, type: hex}}}
  bad: {wire: {begins: ["o3 bad", "pres bad"]}, states: {error: {at: 2, equals: cmd, says: 1}}}
"""


def profile_of(text: str) -> Profile:
    maker, model = re.search(r"profile: ([\w-]+)\.([\w-]+)", text).groups()  # type: ignore[union-attr]
    return parse(text.lstrip().encode(), Path(maker) / f"{model}.yaml")


def stx(text: str) -> bytes:
    return b"\x02" + text.encode() + b"\x03" + SEALS["xor_hex"](text.encode()) + b"\r\n"


def test_a_unit_in_a_column_of_its_own_and_a_status_word() -> None:
    gill = profile_of(HERE)
    results = readings(gill, stx("Q,229,002.74,M,00,") + stx("Q,,000.02,N,00,") + stx("Q,999,999.99,M,04,"))
    assert [result.values for result in results] == [
        {"wind_direction": 229, "wind_speed": 2.74},
        {"wind_direction": None, "wind_speed": pytest.approx(0.0102889, abs=1e-6)},
        {"wind_direction": None, "wind_speed": None},
    ]
    assert results[2].notes == ("axis_failed",)
    assert codes(gill, stx("Q,229,002.74,M,00,").replace(b"229", b"228")) == ["bad_checksum"]
    raw = encoder(gill)({"wind_direction": 10.0, "wind_speed": 1.5})
    assert raw == stx("Q,10,1.50,M,00,").rstrip()


def test_answers_in_words_with_their_units() -> None:
    thermo = profile_of(WORDS)
    said = heard(thermo, b"o3 1.230000e+02 ppb\rpres 600.0 mm Hg\rbench temp 21.0 dec C\rflags 0c100000\ro3 bad cmd\r")
    values = [{k: v for k, v in r.values.items() if v is not None} for r in said if isinstance(r, Reading)]
    assert values[0] == {"o3": 123.0}
    assert values[1]["pressure"] == pytest.approx(799.93, abs=0.01)
    assert values[2] == {"temperature_internal": 21.0}
    assert [r.notes for r in said if isinstance(r, Reading)][3] == ("alarm",)
    assert [r.code for r in said if isinstance(r, Fault)] == ["device_error:bad"]


def test_the_example_of_the_documentation_reads_what_it_says(root: Path) -> None:
    page = (root / "docs" / "profiles.md").read_text()
    example = re.search(r"## wire of grammar lines\n```yaml\n(.*?)```\n(.*?)\n", page, re.DOTALL)
    assert example is not None
    lines = re.findall(r"`([^`]*)`", example[2])
    (reading,) = readings(profile_of(example[1]), "\r\n".join([*lines, ""]).encode())
    assert reading.values == pytest.approx({"pm2_5": 12, "pressure": 1010.7}, abs=0.1)
    for wire in re.findall(r"^\{grammar: lines.*?\}(?= +#)", page, re.MULTILINE):
        assert isinstance(profile_of(DUMMY.format(wire)).wire, LinesWire)


DUMMY = """
profile: acme.other
models: [Other]
source: a manual
wire: {}
fields: {{temperature: {{at: 1, unit: degC, step: 0.1}}}}
"""

WRONG = [
    ('end: "\\x03"', 'end: ""', "wire.end"),
    ("at: 1, unit: deg", "at: Dir, unit: deg", "fields.wind_direction.at"),
    ("at: 1, unit: deg", "at: 300, unit: deg", "fields.wind_direction.at"),
    ("N: kn", "N: hPa", "fields.wind_speed.units.N"),
    ("unit_at: 3", "unit_at: three", "fields.wind_speed.unit_at"),
    ("step: 1,", "step: 1, type: u16,", "fields.wind_direction.type"),
    ("step: 1,", "step: 1, builtin: packed_clock,", "fields.wind_direction.builtin"),
    ("step: 1,", "step: 1, beside: 4,", "fields.wind_direction.beside"),
    ("count: 6", "columns: header", "wire.header"),
    ("count: 6", "columns: key, pair: ''", "wire.pair"),
    ("count: 6", "join: 999", "wire.join"),
    ("fixed: {0: Q", "fixed: {zero: Q", "wire.fixed.zero"),
    ("at: 4, differs", "at: 4, type: time, differs", "status.axis_failed.type"),
    ("after_end: true", 'after_end: true, mark: "*"', "wire.check.mark"),
    ('start: "\\x02"', 'start: "\u20ac"', "wire"),
    ("sum: xor_hex", "sum: md5", "wire.check.sum"),
    ("  wind_direction:", '  timestamp: {at: 5, type: time, form: "%H:%M"}\n  wind_direction:', "fields.timestamp.form"),
]


@pytest.mark.parametrize(("old", "new", "key"), WRONG, ids=[key for _, _, key in WRONG])
def test_every_mistake_is_named_with_its_key(old: str, new: str, key: str) -> None:
    assert old in HERE
    with pytest.raises(Mistakes) as caught:
        profile_of(HERE.replace(old, new, 1))
    assert any(f": {key}: " in line for line in caught.value.lines), caught.value.lines
