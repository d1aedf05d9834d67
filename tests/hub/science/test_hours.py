"""Clock hours from samples: which hour a sample belongs to, and when an hour is whole enough to count."""

from hub.science.hours import HOUR_MS, newest_hours, spacing_ms

MINUTE = 60_000
NOON = 1_795_608_000_000 // HOUR_MS * HOUR_MS


def minutes(first: int, last: int, value: float = 10.0, every: int = 1) -> list[tuple[int, float | None, int]]:
    """Samples at noon + first..last minutes."""
    return [(NOON + m * MINUTE, value, 1) for m in range(first, last + 1, every)]


def test_45_minutes_make_an_hour_and_44_do_not() -> None:
    assert newest_hours(minutes(-59, -15), now_ms=NOON)[0].mean == 10
    assert newest_hours(minutes(-59, -16), now_ms=NOON)[0].mean is None
    assert newest_hours(minutes(-59, -16), now_ms=NOON)[0].minutes == 44


def test_a_sample_on_the_hour_ends_the_hour_before_it() -> None:
    newest, before = newest_hours([*minutes(-119, -60, 5.0), *minutes(-59, 0, 20.0)], now_ms=NOON, hours=2)
    assert (newest.end_ms, newest.mean, newest.minutes) == (NOON, 20, 60)
    assert (before.end_ms, before.mean) == (NOON - HOUR_MS, 5)


def test_the_running_hour_is_not_looked_at() -> None:
    assert newest_hours(minutes(-59, 30), now_ms=NOON + 31 * MINUTE)[0].end_ms == NOON


def test_samples_every_two_seconds_or_every_ten_minutes_cover_their_hour_alike() -> None:
    fast: list[tuple[int, float | None, int]] = [(NOON - HOUR_MS + s * 1000, 7.0, 1) for s in range(0, 3601, 2)]
    slow = minutes(-110, 0, 7.0, every=10)
    for samples in (fast, slow):
        hour = newest_hours(samples, now_ms=NOON)[0]
        assert (hour.mean, hour.minutes) == (7, 60)


def test_an_outage_is_a_hole_and_not_a_long_sample() -> None:
    hour = newest_hours([*minutes(-59, -40), *minutes(-5, 0)], now_ms=NOON)[0]
    assert (hour.mean, hour.minutes) == (None, 26)


def test_an_averaging_period_covers_more_than_the_spacing() -> None:
    samples: list[tuple[int, float | None, int]] = [(NOON - 30 * MINUTE, 8.0, 1), (NOON, 9.0, 1)]
    assert newest_hours(samples, now_ms=NOON)[0].mean is None
    assert newest_hours(samples, now_ms=NOON, period_s=1800)[0].mean == 8.5


def test_failed_and_missing_values_cover_nothing_and_suspect_ones_count() -> None:
    failed = [(at, value, 4) for at, value, _ in minutes(-59, 0)]
    missing = [(at, None, 9) for at, _, _ in minutes(-59, 0)]
    suspect = [(at, value, 3) for at, value, _ in minutes(-59, 0)]
    assert newest_hours(failed, now_ms=NOON)[0].mean is None
    assert newest_hours(missing, now_ms=NOON)[0].minutes == 0
    assert newest_hours(suspect, now_ms=NOON)[0].mean == 10


def test_no_samples_are_twelve_empty_hours() -> None:
    assert [hour.mean for hour in newest_hours([], now_ms=NOON)] == [None] * 12


def test_jitter_and_lost_samples_do_not_stretch_the_spacing() -> None:
    times = [n * MINUTE + (n % 3) * 40 for n in range(100) if n % 4]
    assert abs(spacing_ms(times) - MINUTE) < 100
    assert spacing_ms([0, 86_400_000]) == 15 * MINUTE
