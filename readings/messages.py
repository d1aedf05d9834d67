"""What gateway and hub say to each other beside data: hello up; answer and ack down, sealed. Structs to bytes and back.

Down messages end with one byte of key version and HMAC-SHA256(key, topic 00 body)[:16], so that a broker that was broken into
cannot make a gateway believe that its rows are held.
"""

import hmac
from hashlib import sha256
from typing import Literal

import msgspec
from msgspec import Struct

from readings.errors import Drop

Pairs = list[tuple[int, int]]
WIRE_INTERVALS = 64
"""At most this many intervals of a set go on the wire, the lowest."""
SEAL_BYTES = 17


class BadMessage(Drop):
    """A message that is not one of ours, or whose seal does not fit."""


class Window(Struct, frozen=True):
    """What the hub lets a gateway have in flight."""

    messages: int
    bytes: int


USUAL_WINDOW = Window(2, 32768)


class Hello(Struct, frozen=True, omit_defaults=True):
    """A gateway names its card and the streams whose rows it still has. `stream` is None while the card refuses commits.

    `streams`: [stream, lo, hi] of rows present, the current stream and at most 100 more, oldest first; `more`: further hellos
    page on.
    `produced`: rows committed by this card so far; `pending`: rows not known to be held.
    """

    nonce: str
    card: str
    stream: str | None
    previous: tuple[str, int] | None
    streams: list[tuple[str, int, int]]
    produced: int
    pending: int
    clock: str
    version: str
    more: bool = False


class Bye(Struct, frozen=True):
    """The gateway's will: sent by the broker when the connection ends."""

    bye: Literal[True]


class Answer(Struct, frozen=True, tag="answer", tag_field="type"):
    """The hub's answer to a hello: what it holds of each stream asked, from its committed tables. `time`: Unix [ms]."""

    nonce: str
    incarnation: str
    time: int
    held: dict[str, Pairs]
    gone: dict[str, Pairs]
    safe: dict[str, Pairs]
    window: Window
    wait_s: int


class Ack(Struct, frozen=True, omit_defaults=True, tag="ack", tag_field="type"):
    """A message's numbers are committed. `got` = its [lo, hi]; `held`, `gone` = the stream's committed sets.

    Without `gone`: none; without `window`: the usual one. One goes with each message, and there each byte counts.
    """

    incarnation: str
    stream: str
    got: tuple[int, int]
    held: Pairs
    gone: Pairs = []
    window: Window = USUAL_WINDOW


Down = Answer | Ack
_hello = msgspec.json.Decoder(Hello)
_bye = msgspec.json.Decoder(Bye)
_down = msgspec.json.Decoder(Down)


def up_topic(gateway: str) -> str:
    return f"gw/{gateway}/up"


def hello_topic(gateway: str) -> str:
    return f"gw/{gateway}/hello"


def down_topic(gateway: str) -> str:
    return f"gw/{gateway}/down"


def read_hello(body: bytes) -> Hello | Bye:
    """Raises BadMessage."""
    try:
        return _bye.decode(body) if body.startswith(b'{"bye"') else _hello.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(str(error), what="hello") from error


def seal(message: Down, *, topic: str, key: bytes, key_version: int) -> bytes:
    """Body, key version, MAC: what is published on `gw/<gateway>/down`."""
    body = msgspec.json.encode(message)
    return body + bytes([key_version & 0xFF]) + _mac(key, topic, body)


def unseal(payload: bytes, *, topic: str, key: bytes) -> Down:
    """Raises BadMessage on a seal that does not fit or a body that cannot be read."""
    body, mac = payload[:-SEAL_BYTES], payload[-SEAL_BYTES + 1 :]
    if not hmac.compare_digest(mac, _mac(key, topic, body)):
        raise BadMessage("its seal does not fit", what="down message", hint="if this lasts, enrol this gateway again")
    try:
        message: Down = _down.decode(body)
        return message
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadMessage(str(error), what="down message") from error


def _mac(key: bytes, topic: str, body: bytes) -> bytes:
    return hmac.digest(key, topic.encode() + b"\0" + body, sha256)[:16]
