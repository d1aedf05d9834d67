"""A stored sample and its channels in; `{"time", "values", "units", "flags"}` out, numbers spliced as they are stored. Pure."""

from collections.abc import Sequence

import msgspec

from hub.answers import rfc3339


class Values(msgspec.Struct, frozen=True):
    """What `telemetry/<gateway>/<sensor>` says. Keys are parameters; a missing value is null with flag 9."""

    time: str
    values: dict[str, msgspec.Raw]
    units: dict[str, str]
    flags: dict[str, int]


def values_of(time_ms: int, channels: Sequence[tuple[str, str]], body: str, flags: str | None) -> Values:
    """`channels`: (parameter, unit) in the schema's order; `body` and `flags` as the store holds them."""
    parameters = [parameter for parameter, _ in channels]
    numbers = [msgspec.Raw(text.encode()) for text in body[1:-1].split(",")]
    judged = [1] * len(parameters) if flags is None else msgspec.json.decode(flags, type=list[int])
    return Values(
        rfc3339(time_ms),
        dict(zip(parameters, numbers, strict=True)),
        dict(channels),
        dict(zip(parameters, judged, strict=True)),
    )
