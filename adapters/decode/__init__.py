"""Bytes of one answer in; named numbers out. And back: every grammar can also speak. No I/O here."""

from collections.abc import Callable, Mapping

from adapters.decode import frame, jsonbody, jsonpath, lines, linewriter, registers
from adapters.decode.reading import Fault, Plan, Reading, Result, StreamDecoder, plan_of
from adapters.profile import FrameWire, LinesWire, Profile, RegisterWire

__all__ = ["Encoder", "Fault", "Plan", "Reading", "Result", "StreamDecoder", "decoder", "encoder", "plan_of"]

Encoder = Callable[[Mapping[str, float | int | str]], bytes | dict[int, int]]
"""values [canonical units] and texts by name -> a frame, a JSON body, or (registers) an image by address."""


def decoder(profile: Profile) -> StreamDecoder:
    """Prepared once, used for every answer of one sensor."""
    if isinstance(profile.wire, FrameWire):
        return frame.decoder(profile)
    if isinstance(profile.wire, RegisterWire):
        return registers.RegisterDecoder(profile)
    if isinstance(profile.wire, LinesWire):
        return lines.LinesDecoder(profile)
    return jsonpath.JsonDecoder(profile)


def encoder(profile: Profile) -> Encoder:
    """The simulator's mouth: decode(encode(x)) = x on the wire's own steps."""
    if isinstance(profile.wire, FrameWire):
        return frame.encoder(profile)
    if isinstance(profile.wire, RegisterWire):
        return registers.encoder(profile)
    if isinstance(profile.wire, LinesWire):
        return linewriter.encoder(profile)
    return jsonbody.encoder(profile)
