"""Why a row is not taken: a closed list of codes, each with what a person does about it. The rest of the house reads it here."""

from collections.abc import Mapping

from readings.errors import Drop

CODES: Mapping[str, str] = {
    "row_malformed": "a row is an object with sensor, time, values and units, and nothing else",
    "key_twice": "a key stands once in an object: which of two values is meant cannot be known",
    "sensor_malformed": "write <local id>, or <gateway>/<local id>; a local id is a-z, 0-9, _ and -, at most 31 of them",
    "sensor_unknown": "there is no such gateway, or it is not yours: ask its network's admin",
    "time_malformed": "write the time like 2026-11-24T22:00:00Z (RFC 3339)",
    "time_no_offset": "a time needs its offset: Z, or like +01:00",
    "time_past": "the clock was not set: times before 2000 are no measurement's",
    "time_future": "the clock is ahead: a time may be at most 10 minutes after its receipt",
    "no_values": "a row has at least one value that is a number",
    "parameter_unknown": "take a parameter of the closed list",
    "unit_missing": "each value needs its unit in units",
    "unit_unknown": "take a unit that leads to the parameter's own by a fixed factor",
    "value_not_number": "a value is a number or null: no text, no true, no list",
    "value_not_finite": "NaN and infinity are no measurement: send null, or leave the value out",
    "value_too_large": "a number beyond 2^53 steps cannot be kept exactly",
    "value_sentinel": "this number is how the device says that it has no value: send null",
    "body_unreadable": "the device's body does not fit what its maker's firmware sends",
    "device_unnamed": "the body or its headers have to say which device it is",
}
"""Code -> what to do."""


class Refused(Drop):
    """This row is not taken. `code` is one of CODES."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why, what=code, hint=CODES[code])
        self.code = code
