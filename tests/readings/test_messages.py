"""Seals fit or they do not; what is not ours is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readings.messages import Ack, Answer, BadMessage, Bye, Hello, Window, read_hello, seal, unseal

KEY = bytes(range(32))
BYE = b'{"bye":true}'
TOPIC = "gw/unilag-01/down"
ACK = Ack("inc", "0" * 16, (1, 5), [(1, 5)], [], Window(2, 32768))
ANSWER = Answer("n1", "inc", 1, {"0" * 16: [(1, 9)]}, {}, {}, Window(2, 32768), 5)


@pytest.mark.parametrize("message", [ACK, ANSWER])
def test_a_sealed_message_opens_with_its_key(message: Ack | Answer) -> None:
    assert unseal(seal(message, topic=TOPIC, key=KEY, key_version=1), topic=TOPIC, key=KEY) == message


def test_another_gateways_topic_or_key_does_not_open_it() -> None:
    sealed = seal(ACK, topic=TOPIC, key=KEY, key_version=1)
    with pytest.raises(BadMessage, match="seal does not fit"):
        unseal(sealed, topic="gw/other/down", key=KEY)
    with pytest.raises(BadMessage, match="seal does not fit"):
        unseal(sealed, topic=TOPIC, key=bytes(32))


@given(st.binary(max_size=100))
def test_bytes_from_anywhere_are_refused(junk: bytes) -> None:
    with pytest.raises(BadMessage):
        unseal(junk, topic=TOPIC, key=KEY)
    if junk != BYE:
        with pytest.raises(BadMessage):
            read_hello(junk)


def test_a_hello_and_a_will_are_told_apart() -> None:
    import msgspec

    hello = Hello("n", "card", None, None, [], 0, 0, "unsynced", "0.1.0")
    assert read_hello(msgspec.json.encode(hello)) == hello
    assert read_hello(BYE) == Bye(bye=True)
