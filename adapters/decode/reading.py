"""Numbers as they stood on the wire in; values in canonical units, or scaled integers of a Schema's channels, out.

A Plan is made once per profile: which channels, in which order, and how each raw number becomes its value. No I/O here.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import isfinite
from operator import truediv
from typing import Protocol

import msgspec
from msgspec import Struct

from adapters.profile import FLOATING, Doubt, Field, Message, Profile, Status, Wire, conversion, default_type, unit_of
from readings.sample import Channel, Flag, unscale

Number = int | float | None
LARGEST = 2**53 - 1
"""Scaled integers beyond it lose their last digit in SQLite's and JavaScript's JSON."""


class Fault(Struct, frozen=True):
    """Why bytes held no reading: `code` is one of the vectors' error codes."""

    code: str
    detail: str = ""


class Scale(Struct, frozen=True):
    """scaled = raw * times + plus where that is exact (`times` is not 0); else round((raw * factor + offset) / 10**exponent)."""

    exponent: int
    factor: float
    offset: float
    times: int = 0
    plus: int = 0

    def at(self, exponent: int) -> "Scale":
        """The same on a finer step, where another message of the device gives more digits."""
        finer = 10 ** (self.exponent - exponent)
        return Scale(exponent, self.factor, self.offset, self.times * finer, self.plus * finer)

    def value(self, raw: Number) -> float | None:
        if raw is None:
            return None
        if self.times and isinstance(raw, int):
            return unscale(raw * self.times + self.plus, self.exponent)
        return raw * self.factor + self.offset


class Plan:
    """How one profile's raw numbers become values. `channels` is what a schema row says of them."""

    def __init__(self, channels: Sequence[Channel], scales: Sequence[Scale]) -> None:
        self.channels = tuple(channels)
        self.scales = tuple(scales)
        self.names = tuple(channel.parameter for channel in channels)
        self.good: tuple[int, ...] = (int(Flag.GOOD),) * len(self.names)
        self._as_they_are = all(scale.times == 1 and scale.plus == 0 and scale.exponent <= 0 for scale in scales)
        self._steps = tuple((s.times, s.plus, s.factor, s.offset, 10.0**-s.exponent) for s in scales)
        self._divisors = tuple(10 ** max(0, -scale.exponent) for scale in scales)

    def scaled(self, numbers: Sequence[Number]) -> tuple[int | None, ...]:
        """The integers of a Sample. Quantised here, once."""
        if self._as_they_are:
            return tuple(numbers)  # type: ignore[arg-type]  # an exact scale of 1 belongs to integers only
        scaled: list[int | None] = []
        for raw, (times, plus, factor, offset, power) in zip(numbers, self._steps, strict=True):
            if raw is None:
                scaled.append(None)
            elif times and isinstance(raw, int):
                scaled.append(raw * times + plus)
            else:  # readings.sample.quantise, spelled out: the call would double the cost of a value
                value = (raw * factor + offset) * power
                scaled.append(int(value + 0.5) if value >= 0 else -int(0.5 - value))
        return tuple(scaled)

    def values(self, numbers: Sequence[Number]) -> dict[str, float | None]:
        if self._as_they_are and None not in numbers:
            return dict(zip(self.names, map(truediv, numbers, self._divisors), strict=True))
        return {name: scale.value(raw) for name, scale, raw in zip(self.names, self.scales, numbers, strict=True)}

    def limit(self, at: int) -> float:
        """The largest raw number that can be stored without loss."""
        scale = self.scales[at]
        return (LARGEST * 10.0**scale.exponent - abs(scale.offset)) / abs(scale.factor)

    def averaged(self, period_s: int) -> "Plan":
        """The plan of means over a period [s]: one decimal finer."""
        channels = [msgspec.structs.replace(c, exponent=c.exponent - 1, period_s=period_s) for c in self.channels]
        scales = [Scale(s.exponent - 1, s.factor, s.offset) for s in self.scales]
        return Plan(channels, scales)


class Reading(Struct, frozen=True):
    """One good answer. `numbers` are raw, in the plan's order, None = missing; one flag each; `notes` name what was odd."""

    plan: Plan
    numbers: tuple[Number, ...]
    flags: tuple[int, ...]
    texts: Mapping[str, str] = {}
    notes: tuple[str, ...] = ()

    @property
    def values(self) -> dict[str, float | None]:
        """By parameter, in canonical units."""
        return self.plan.values(self.numbers)

    @property
    def scaled(self) -> tuple[int | None, ...]:
        """In the order of the schema's channels."""
        return self.plan.scaled(self.numbers)


Result = Reading | Fault


class StreamDecoder(Protocol):
    """Bytes in, readings and faults out, in their order. `skipped` counts bytes that belonged to nothing."""

    plan: Plan
    skipped: int

    def feed(self, data: bytes) -> list[Result]: ...

    def finish(self) -> list[Result]:
        """The stream ended: what stands open is a fault."""

    def reset(self) -> None:
        """Forgets what stands open."""


def plan_of(profile: Profile, message: Message | None = None) -> Plan:
    """The channels of all messages; the numbers as the profile's own answer gives them, or one of its messages."""
    every, names = profile.every, profile.numbers
    parts: list[Profile | Message] = [profile, *profile.messages.values()]
    first = {name: next(part for part in parts if name in part.fields) for name in names}
    mine = message or profile
    scales: list[Scale] = []
    for name in names:
        holder = mine if name in mine.fields else first[name]
        scale = _scale(name, holder.fields[name], holder.wire)
        finest = min(_scale(name, part.fields[name], part.wire).exponent for part in parts if name in part.fields)
        scales.append(scale.at(finest))
    channels = [
        Channel(name, unit_of(name, every[name]), scale.exponent, every[name].place, every[name].period_s)
        for name, scale in zip(names, scales, strict=True)
    ]
    return Plan(channels, scales)


def _scale(name: str, field: Field, wire: Wire) -> Scale:
    """Exponent no coarser than the wire's own step; a tenth of the stated precision for floats."""
    into = conversion(name, field)
    factor, offset = float(into.scale), float(into.offset)
    kind = field.type or default_type(wire)
    if kind in FLOATING:
        step = Fraction(str(field.step)) if field.step is not None else Fraction(str(field.precision)) / 10
        # step and precision are stated in the field's unit: after its own scale, before its unit becomes canonical
        return Scale(_magnitude(step * abs(into.scale) / abs(Fraction(str(field.scale)))), factor, offset)
    coarse = _magnitude(abs(into.scale))
    for exponent in (coarse, coarse - 1, coarse - 2):
        times, plus = into.scale / Fraction(10) ** exponent, into.offset / Fraction(10) ** exponent
        if times.denominator == 1 and plus.denominator == 1:
            return Scale(exponent, factor, offset, int(times), int(plus))
    return Scale(coarse, factor, offset)


def _magnitude(step: Fraction) -> int:
    """The largest e with 10**e <= step."""
    exponent = 0
    while Fraction(10) ** exponent > step:
        exponent -= 1
    while Fraction(10) ** (exponent + 1) <= step:
        exponent += 1
    return exponent


class Rule(Struct, frozen=True):
    """A profile's doubt, by index. `flags`: those of a reading in which only this doubt holds."""

    name: str
    positive: tuple[int, ...]
    zero: tuple[int, ...]
    absent: tuple[int, ...]
    flags: tuple[int, ...]
    apart: tuple[int, ...] = ()
    by: float = 0.0
    percent: float = 0.0
    scales: tuple[Scale, ...] = ()

    def holds(self, numbers: Sequence[Number]) -> bool:
        if self.apart:
            one, other = (scale.value(numbers[at]) for at, scale in zip(self.apart, self.scales, strict=True))
            if one is None or other is None:
                return False
            away = abs(one - other)
            return away > self.by and away > self.percent / 100 * abs(one + other) / 2
        if self.absent:
            return all(numbers[at] is None for at in self.absent)
        return all(numbers[at] == 0 for at in self.zero) and any((numbers[at] or 0) > 0 for at in self.positive)


def rules_of(profile: Profile, plan: Plan, message: Message | None = None) -> tuple[Rule, ...]:
    """A message is doubted by what it holds itself."""
    held = (message or profile).fields
    whole = not profile.messages
    return tuple(
        _rule(name, doubt, plan)
        for name, doubt in profile.doubts.items()
        if whole or all(parameter in held for parameter in (*doubt.positive, *doubt.zero, *doubt.absent, *(doubt.apart or ())))
    )


def least_flags(status: Status, plan: Plan) -> tuple[int, ...]:
    """What each value's flag becomes at least while this status holds."""
    flag = {"good": Flag.GOOD, "suspect": Flag.SUSPECT, "fail": Flag.FAIL}[status.flag]
    return tuple(int(flag) if not status.of or name in status.of else int(Flag.GOOD) for name in plan.names)


def _rule(name: str, doubt: Doubt, plan: Plan) -> Rule:
    positive, zero, absent = (tuple(map(plan.names.index, names)) for names in (doubt.positive, doubt.zero, doubt.absent))
    apart = tuple(map(plan.names.index, doubt.apart or ()))
    doubted = {*positive, *zero, *apart}
    flags = tuple(int(Flag.SUSPECT) if at in doubted else int(Flag.GOOD) for at in range(len(plan.names)))
    scales = tuple(plan.scales[at] for at in apart)
    return Rule(name, positive, zero, absent, flags, apart, doubt.by, doubt.percent, scales)


class Judge:
    """Raw numbers in, a Reading out: sentinels and unstorable numbers become missing, doubts become flags and notes."""

    def __init__(self, profile: Profile, plan: Plan, message: Message | None = None) -> None:
        self.plan = plan
        self.rules = rules_of(profile, plan, message)
        fields = {**profile.every, **(message.fields if message else {})}
        self.sentinels = tuple(frozenset(fields[name].sentinels) for name in plan.names)
        self._tests = tuple((plan.limit(at), sentinels) for at, sentinels in enumerate(self.sentinels))

    def judge(
        self,
        found: Sequence[Number],
        texts: Mapping[str, str],
        odd: Mapping[int, str],
        notes: Sequence[str] = (),
        least: Sequence[Sequence[int]] = (),
    ) -> Reading:
        """`odd`: by index, what was odd about a number that is kept all the same; it becomes suspect. `least`: by least_flags."""
        numbers, flags, said = list(found), list(self.plan.good), list(notes)
        for at, (raw, (limit, sentinels)) in enumerate(zip(found, self._tests, strict=True)):
            if raw is not None and -limit <= raw <= limit and raw not in sentinels:  # NaN is within no limits
                continue
            numbers[at], flags[at] = None, int(Flag.MISSING)
            if raw is not None and raw not in sentinels:
                said.append("not_finite" if isinstance(raw, float) and not isfinite(raw) else "too_large")
        for at, note in odd.items():
            if numbers[at] is not None:
                flags[at] = int(Flag.SUSPECT)
                said.append(note)
        for rule in self.rules:
            if rule.holds(numbers):
                said.append(rule.name)
                flags = [max(mine, theirs) for mine, theirs in zip(flags, rule.flags, strict=True)]
        for marked in least:
            flags = list(map(max, flags, marked))
        return Reading(self.plan, tuple(numbers), tuple(flags), texts, tuple(dict.fromkeys(said)))
