"""A moment in; what a sensor in Lagos would feel out. Deterministic: seed, sensor and time decide every value. No I/O.

Invented, but shaped like the place: traffic peaks from 7 to 9 and from 17 to 21 h local time, a dusty dry-season afternoon that
lifts the coarse fraction, humid nights that swell fine particles, mains that sag in the evening. Always PM1 < PM2.5 < PM10.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from math import cos, exp, pi, sqrt

from msgspec import Struct

from readings.errors import Stop
from readings.parameters import PARAMETERS

HOUR_MS = 3_600_000
CHANNEL = re.compile(r"_(a|b|c|s1|s2|corrected|alt|total)$")
"""One of several of the same kind: its rule is that of one alone."""
LAGOS_MS = HOUR_MS  # UTC+1, no summer time
METER_SINCE_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z, when every meter was put in with 0 kWh
MEAN_LOAD_KW = 0.35


class Day(Struct, frozen=True):
    """The synthetic day as one sensor sees it."""

    seed: int
    sensor: str

    def truth(self, parameter: str, time_ms: int) -> float:
        """The value [canonical unit of the parameter] at a Unix time [ms]. Raises Stop for what is no parameter.

        An instrument of a group and a channel of several read nearly the same as one alone; what has no rule of its own stays low
        in its plausible range.
        """
        if rule := RULES.get(parameter):
            return rule(self, time_ms)
        known = PARAMETERS.get(parameter)
        if known is None:
            raise Stop(
                f"no rule for {parameter}", what="synthetic day", hint="it knows the parameters of readings/parameters.yaml"
            )
        alone = CHANNEL.sub("", parameter.rpartition(".")[2])
        low, high = known.effective or known.range
        if alone in RULES:
            return min(high, RULES[alone](self, time_ms) * (1 + 0.03 * self.noise(parameter, time_ms // 100)))
        span = min(high - low, 100.0)
        return max(low, 0.0) + span * (0.05 + 0.03 * self.noise(parameter, time_ms))

    def noise(self, channel: str, time_ms: int) -> float:
        """Smooth noise in -1..1: value noise of 40 min, 4 min and 10 s, each half as strong as the one before."""
        total = sum(weight * self._octave(channel, period_s, time_ms) for period_s, weight in ((2400, 4), (240, 2), (10, 1)))
        return total / 7

    def bias(self) -> float:
        """This place against the city's mean: 0.85 to 1.15, for good."""
        return 1 + 0.15 * self._corner("place", 0, 0)

    def _octave(self, channel: str, period_s: int, time_ms: int) -> float:
        step, into = divmod(time_ms, period_s * 1000)
        share = into / (period_s * 1000)
        share = share * share * (3 - 2 * share)
        return (1 - share) * self._corner(channel, period_s, step) + share * self._corner(channel, period_s, step + 1)

    def _corner(self, channel: str, period_s: int, step: int) -> float:
        key = f"{self.seed}/{self.sensor}/{channel}/{period_s}/{step}".encode()
        return int.from_bytes(hashlib.blake2b(key, digest_size=4).digest(), "big") / 0x7FFFFFFF - 1


def knows(parameter: str) -> bool:
    return parameter in PARAMETERS


def local_hour(time_ms: int) -> float:
    """0 up to 24 in Lagos."""
    return (time_ms + LAGOS_MS) % (24 * HOUR_MS) / HOUR_MS


def _hump(hour: float, centre: float, width: float) -> float:
    """1 at the centre, falling off both ways round the clock."""
    away = abs(hour - centre)
    away = min(away, 24 - away)
    return exp(-0.5 * (away / width) ** 2)


def _traffic(time_ms: int) -> float:
    hour = local_hour(time_ms)
    return _hump(hour, 8, 1.0) + 1.2 * _hump(hour, 19, 1.6)


def _dust(day: Day, time_ms: int) -> float:
    """Coarse dust [ug/m3]: the dry wind's afternoon and what wheels stir up."""
    raised = 12 + 62 * _hump(local_hour(time_ms), 14.5, 2.2) + 9 * _traffic(time_ms)
    return raised * day.bias() * (1 + 0.25 * day.noise("dust", time_ms))


def _fine(day: Day, time_ms: int) -> float:
    """Smoke and exhaust, swollen by humidity [ug/m3]."""
    dry = (13 + 34 * _traffic(time_ms)) * day.bias() * (1 + 0.2 * day.noise("fine", time_ms))
    return dry * (1 + 0.012 * max(0.0, _humidity(day, time_ms) - 65))


def _pm1(day: Day, time_ms: int) -> float:
    return 0.64 * _fine(day, time_ms)


def _pm2_5(day: Day, time_ms: int) -> float:
    return _fine(day, time_ms) + 0.1 * _dust(day, time_ms)


def _pm10(day: Day, time_ms: int) -> float:
    return _fine(day, time_ms) + _dust(day, time_ms)


def _cf1(atmospheric: Callable[[Day, int], float]) -> Callable[[Day, int], float]:
    """Plantower's two outputs agree up to 30 ug/m3; above, CF=1 reads up to half as much again."""
    return lambda day, t: atmospheric(day, t) + 0.5 * max(0.0, atmospheric(day, t) - 30)


def _counts(day: Day, time_ms: int) -> dict[str, float]:
    """Particles above each diameter [#/cm3], summed from the coarsest down, so that no count exceeds a finer one."""
    pm1, pm2_5, dust = _pm1(day, time_ms), _pm2_5(day, time_ms), _dust(day, time_ms)
    shells = {
        "n_gt_10um": 0.003 * dust,
        "n_gt_5_0um": 0.006 * dust,
        "n_gt_2_5um": 0.01 * pm2_5,
        "n_gt_1_0um": 0.09 * pm2_5,
        "n_gt_0_5um": 0.3 * pm1,
        "n_gt_0_3um": 1.1 * pm1,
    }
    total, counted = 0.0, {}
    for name, shell in shells.items():
        total += shell
        counted[name] = total
    return counted


def _count(name: str) -> Callable[[Day, int], float]:
    return lambda day, t: _counts(day, t)[name]


def _temperature(day: Day, time_ms: int) -> float:
    return 28.5 + 3.5 * cos(2 * pi * (local_hour(time_ms) - 15) / 24) + 0.6 * day.noise("temperature", time_ms)


def _humidity(day: Day, time_ms: int) -> float:
    return min(99.0, 77 + 15 * cos(2 * pi * (local_hour(time_ms) - 4.5) / 24) + 3 * day.noise("humidity", time_ms))


def _load(time_ms: int) -> float:
    """How much the neighbourhood draws, 0 to about 1."""
    hour = local_hour(time_ms)
    return _hump(hour, 20.5, 2.5) + 0.4 * _hump(hour, 7, 1.5)


def _voltage(day: Day, time_ms: int) -> float:
    return 229 - 11 * _load(time_ms) + 5 * day.noise("mains", time_ms)


def _current(day: Day, time_ms: int) -> float:
    return 0.9 + 1.8 * _load(time_ms) + 0.3 * day.noise("current", time_ms)


def _power_factor(day: Day, time_ms: int) -> float:
    return 0.93 + 0.03 * day.noise("power factor", time_ms)


def _apparent(day: Day, time_ms: int) -> float:
    return _voltage(day, time_ms) * _current(day, time_ms)


def _active(day: Day, time_ms: int) -> float:
    return _apparent(day, time_ms) * _power_factor(day, time_ms)


def _reactive(day: Day, time_ms: int) -> float:
    return _apparent(day, time_ms) * sqrt(1 - _power_factor(day, time_ms) ** 2)


def _energy(day: Day, time_ms: int) -> float:
    """A counter that only ever goes forward [kWh]."""
    return max(0.0, MEAN_LOAD_KW * day.bias() * (time_ms - METER_SINCE_MS) / HOUR_MS)


def _sun(time_ms: int) -> float:
    """How high the sun stands, 0 at night to 1 at noon."""
    return max(0.0, cos(2 * pi * (local_hour(time_ms) - 12.5) / 24))


def _battery(day: Day, time_ms: int) -> float:
    """A lead battery of 12 V: full in the afternoon, low before sunrise [V]."""
    return 12.6 + 0.7 * cos(2 * pi * (local_hour(time_ms) - 15) / 24) + 0.05 * day.noise("battery", time_ms)


def _panel(day: Day, time_ms: int) -> float:
    return 90 * _sun(time_ms) * (0.85 + 0.15 * day.noise("clouds", time_ms))


def _wind(day: Day, time_ms: int) -> float:
    """The sea breeze [m/s]."""
    return max(0.2, 1.4 + 3.2 * _hump(local_hour(time_ms), 15, 3.5) + 0.9 * day.noise("wind", time_ms))


def _wind_from(day: Day, time_ms: int) -> float:
    """South-west by day, north-east at night [deg]."""
    return (225 + 160 * (1 - min(1.0, 2 * _sun(time_ms))) + 25 * day.noise("wind from", time_ms)) % 360


def _turned(away: float) -> Callable[[Day, int], float]:
    return lambda day, t: (_wind_from(day, t) + away) % 360


def _share(of: Callable[[Day, int], float], share: float) -> Callable[[Day, int], float]:
    return lambda day, t: share * of(day, t)


def _pm2_5_compensated(day: Day, time_ms: int) -> float:
    """The form of US EPA's correction for humid air (Barkjohn 2021): 0.524 cf1 - 0.0862 RH + 5.75, not below 0."""
    return max(0.0, 0.524 * _cf1(_pm2_5)(day, time_ms) - 0.0862 * _humidity(day, time_ms) + 5.75)


RULES: Mapping[str, Callable[[Day, int], float]] = {
    "pm1_0": _pm1,
    "pm2_5": _pm2_5,
    "pm4_0": lambda day, t: _fine(day, t) + 0.3 * _dust(day, t),
    "pm10": _pm10,
    "pm1_0_cf1": _cf1(_pm1),
    "pm2_5_cf1": _cf1(_pm2_5),
    "pm10_cf1": _cf1(_pm10),
    "pm2_5_compensated": _pm2_5_compensated,
    "n_gt_0_3um": _count("n_gt_0_3um"),
    "n_gt_0_5um": _count("n_gt_0_5um"),
    "n_gt_1_0um": _count("n_gt_1_0um"),
    "n_gt_2_5um": _count("n_gt_2_5um"),
    "n_gt_5_0um": _count("n_gt_5_0um"),
    "n_gt_10um": _count("n_gt_10um"),
    "co2": lambda day, t: 424 + 38 * _traffic(t) + 22 * _hump(local_hour(t), 3, 4) + 6 * day.noise("co2", t),
    "voc_index": lambda day, t: 100 + 55 * _traffic(t) + 20 * day.noise("voc", t),
    "voc_raw": lambda day, t: 31_500 - 900 * _traffic(t) + 250 * day.noise("voc", t),
    "nox_index": lambda day, t: 3 + 30 * _traffic(t) + 2 * day.noise("nox", t),
    "nox_raw": lambda day, t: 16_500 + 700 * _traffic(t) + 150 * day.noise("nox", t),
    "temperature": _temperature,
    "temperature_compensated": lambda day, t: _temperature(day, t) - 0.8,
    "temperature_internal": lambda day, t: _temperature(day, t) + 4.5,
    "relative_humidity": _humidity,
    "relative_humidity_compensated": lambda day, t: min(100.0, _humidity(day, t) + 1),
    "relative_humidity_internal": lambda day, t: 0.78 * _humidity(day, t),
    "pressure": lambda day, t: 1011 + 1.6 * cos(4 * pi * (local_hour(t) - 10) / 24) + 0.3 * day.noise("pressure", t),
    "voltage": _voltage,
    "current": _current,
    "power_active": _active,
    "power_apparent": _apparent,
    "power_reactive": _reactive,
    "power_factor": _power_factor,
    "voltage_a": _voltage,
    "current_a": _current,
    "power_active_a": _active,
    "power_factor_a": _power_factor,
    "frequency": lambda day, t: 50 + 0.12 * day.noise("frequency", t),
    "energy_import": _energy,
    "energy_export": lambda day, t: 0.0,
    "energy_total": _energy,
    "o3": lambda day, t: 22 + 24 * _sun(t) - 6 * _traffic(t) + 3 * day.noise("o3", t),
    "light": lambda day, t: 95_000 * _sun(t) * (0.8 + 0.2 * day.noise("clouds", t)),
    "relative_humidity_sample": lambda day, t: 0.4 * _humidity(day, t),
    "temperature_box": lambda day, t: _temperature(day, t) + 8,
    "meter_status": lambda day, t: 0.0,
    "abc_period": lambda day, t: 180.0,
    "pv_voltage": lambda day, t: 2 + 16.5 * min(1.0, 4 * _sun(t)),
    "pv_current": lambda day, t: _panel(day, t) / 18.5,
    "pv_power": _panel,
    "pv_voltage_rated": lambda day, t: 150.0,
    "battery_voltage": _battery,
    "battery_voltage_now": _battery,
    "battery_net_current": lambda day, t: _panel(day, t) / 13 - 0.8,
    "battery_temperature": lambda day, t: _temperature(day, t) + 2,
    "battery_temp_lower_limit": lambda day, t: -40.0,
    "battery_soc": lambda day, t: 70 + 25 * cos(2 * pi * (local_hour(t) - 16) / 24),
    "battery_capacity": lambda day, t: 100.0,
    "battery_rated_voltage": lambda day, t: 12.0,
    "battery_voltage_max_today": lambda day, t: 13.35,
    "battery_voltage_min_today": lambda day, t: 11.85,
    "controller_temperature": lambda day, t: _temperature(day, t) + 6,
    "load_voltage": _battery,
    "load_current": lambda day, t: 0.8,
    "load_power": lambda day, t: 0.8 * _battery(day, t),
    "energy_consumed_today": lambda day, t: 0.01 * local_hour(t),
    "energy_consumed_month": _share(_energy, 0.002),
    "energy_consumed_year": _share(_energy, 0.02),
    "energy_consumed_total": _share(_energy, 0.03),
    "energy_generated_today": lambda day, t: 0.03 * max(0.0, min(12.0, local_hour(t) - 6)),
    "energy_generated_month": _share(_energy, 0.003),
    "energy_generated_year": _share(_energy, 0.03),
    "energy_generated_total": _share(_energy, 0.04),
    "battery_status": lambda day, t: 0.0,
    "charger_status": lambda day, t: 1.0,
    "rssi": lambda day, t: -58 + 6 * day.noise("rssi", t),
    "n_gt_0_5um_raw": _share(_count("n_gt_0_5um"), 283.1684659),
    "n_gt_2_5um_raw": _share(_count("n_gt_2_5um"), 283.1684659),
    "pm": _pm2_5,
    "pm_realtime": _pm2_5,
    "pm_hourly": lambda day, t: _pm2_5(day, t - t % HOUR_MS),
    "pm_short": _pm2_5,
    "sample_volume": lambda day, t: 0.834,
    "flow": lambda day, t: 16.7,
    "filter_temperature": lambda day, t: _temperature(day, t) + 2,
    "filter_relative_humidity": lambda day, t: min(35.0, 0.5 * _humidity(day, t)),
    "wind_speed": _wind,
    "wind_speed_min": _share(_wind, 0.6),
    "wind_speed_max": _share(_wind, 1.6),
    "wind_direction": _wind_from,
    "wind_direction_min": _turned(-20),
    "wind_direction_max": _turned(20),
    "rain_accumulated": lambda day, t: 0.0,
    "rain_duration": lambda day, t: 0.0,
    "rain_intensity": lambda day, t: 0.0,
    "rain_peak_intensity": lambda day, t: 0.0,
    "heating_temperature": _temperature,
    "heating_voltage": lambda day, t: 0.0,
    "supply_voltage": _battery,
    "reference_voltage": lambda day, t: 3.498,
    "xdr_A_0": _turned(-20),
    "xdr_A_1": _wind_from,
    "xdr_A_2": _turned(20),
    "xdr_S_0": _share(_wind, 0.6),
    "xdr_S_1": _wind,
    "xdr_S_2": _share(_wind, 1.6),
    "xdr_C_0": _temperature,
    "xdr_C_1": lambda day, t: _temperature(day, t) + 1,
    "xdr_C_2": _temperature,
    "xdr_H_0": _humidity,
    "xdr_P_0": lambda day, t: day.truth("pressure", t),
    "xdr_V_0": lambda day, t: 0.0,
    "xdr_Z_0": lambda day, t: 0.0,
    "xdr_R_0": lambda day, t: 0.0,
    "xdr_U_0": lambda day, t: 0.0,
    "xdr_U_1": _battery,
    "xdr_U_2": lambda day, t: 3.498,
    "latitude": lambda day, t: 6.5244 + 0.02 * day.bias(),
    "longitude": lambda day, t: 3.3792 + 0.02 * day.bias(),
    "altitude": lambda day, t: 39 + day.noise("altitude", t),
    "satellites": lambda day, t: round(9 + 2 * day.noise("satellites", t)),
    "hdop": lambda day, t: 1.1 + 0.3 * day.noise("hdop", t),
    "fix_quality": lambda day, t: 1.0,
    "ground_speed": lambda day, t: 0.0,
    "ground_course": lambda day, t: 0.0,
}
