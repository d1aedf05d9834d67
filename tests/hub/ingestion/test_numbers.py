"""Numbers as they were written: kept exactly, converted exactly where that can be, else as fine as their digits are worth."""

from decimal import Decimal
from pathlib import Path

import pytest

from hub.ingestion.numbers import Value, convert, parameter_of, unit_of
from hub.ingestion.refusals import CODES, Refused
from hub.ingestion.rows import Checked, check, split
from hub.ingestion.steps import posted
from readings.sample import unscale

GUIDE = Path(__file__).parents[3] / "docs" / "ingest.md"


def stored(parameter: str, said: str, unit: str) -> float | None:
    _, way = unit_of(parameter_of(parameter), unit)
    value = convert(parameter, Decimal(said), way)
    return unscale(value.scaled, value.exponent)


@pytest.mark.parametrize(
    ("parameter", "said", "unit", "value"),
    [
        ("pm2_5", "12.30", "ug/m3", 12.3),
        ("pm2_5", "12.30", "µg/m³", 12.3),
        ("pm2_5", "0.0123", "mg/m3", 12.3),
        ("pressure", "101325", "Pa", 1013.25),
        ("temperature", "300.15", "K", 27),
        ("temperature", "72.5", "degF", 22.5),
        ("temperature", "72.4", "degF", 22.44),
        ("temperature", "-40", "degF", -40),
        ("pm2_5", "0.30000000000000004", "ug/m3", 0.3),
        ("pm2_5", "1e-30", "ug/m3", 0),
        ("pm2_5", "9007199254740991", "ug/m3", 9007199254740991),
        ("pm2_5", "123456789.123456789", "ug/m3", 123456789.1234568),
        ("hcho", "5.5", "ug/m3", 5.5),
    ],
)
def test_a_number_is_stored_in_the_canonical_unit(parameter: str, said: str, unit: str, value: float) -> None:
    assert stored(parameter, said, unit) == value


def test_a_near_miss_of_a_name_is_helped() -> None:
    with pytest.raises(Refused, match="did you mean pm2_5"):
        parameter_of("pm2.5")
    with pytest.raises(Refused) as refused:
        unit_of(parameter_of("pm2_5"), "ppb")
    assert "ug/m3" in refused.value.why


def rows(*values: dict[tuple[str, str], Value]) -> list[Checked]:
    return [Checked(1, "roof", n, value) for n, value in enumerate(values)]


def test_a_sensors_schema_only_grows_and_its_steps_get_finer() -> None:
    first = posted(
        rows({("pm2_5", "ug/m3"): Value(12, 0)}, {("pm2_5", "ug/m3"): Value(123, -1), ("co2", "ppm"): Value(4, 2)}), {}
    )
    assert len({row.source for row in first}) == 1
    assert [row.values for row in first] == [(120, None), (123, 400)]
    known = {(1, "roof"): first[0].source.schema}
    second = posted(rows({("co2", "ppm"): Value(412, 0)}), known)
    assert second[0].source == first[0].source
    assert second[0].values == (None, 412)


def test_a_row_that_fits_no_schema_so_far_begins_one() -> None:
    huge, fine = Value(9_007_199_254_740_991, 0), Value(123_456_789, -9)
    made = posted(rows({("pm2_5", "ug/m3"): huge}, {("pm2_5", "ug/m3"): fine}, {("pm2_5", "ug/m3"): huge}), {})
    assert [row.values for row in made] == [(huge.scaled,), (fine.scaled,), (huge.scaled,)]
    units = posted(rows({("hcho", "ppb"): Value(1, 0)}, {("hcho", "ug/m3"): Value(2, 0)}), {})
    assert [row.source.schema.channels[0].unit for row in units] == ["ppb", "ug/m3"]


def test_a_body_is_split_into_the_texts_of_its_rows() -> None:
    assert split(b'[ {"a": 1.50} ,2]') == [b'{"a": 1.50}', b"2"]
    assert split(b"[NaN, 2]") == [b"NaN", b"2"]
    assert split(b'{"rows": []}') is split(b"") is split(b"[" * 100_000) is None


def test_the_guide_names_every_code() -> None:
    guide = GUIDE.read_text()
    assert all(f"| `{code}` | {what} |" in guide for code, what in CODES.items())


def test_a_time_may_have_nanoseconds_and_any_offset() -> None:
    text = b'{"sensor":"roof","time":"2026-01-01T01:00:00.123456789+01:00","values":{"pm2_5":1},"units":{"pm2_5":"ug/m3"}}'
    assert check(text, 1_800_000_000_000, lambda gateway, sensor: (1, lambda p, u: frozenset())).time_ms == 1_767_225_600_123
