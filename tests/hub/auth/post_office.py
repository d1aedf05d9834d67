"""A real mail server on loopback: what the hub sends in; letters to read out."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import Message
from email.parser import BytesParser
from typing import Any

from aiosmtpd.controller import Controller

from tests.servers import free_port, wait_until


class PostOffice:
    """`letters`: those taken. `refuses`: how many it turns away for now before it takes any."""

    def __init__(self, port: int, refuses: int = 0) -> None:
        self.url = f"smtp://127.0.0.1:{port}"
        self.refuses = refuses
        self.letters: list[Message] = []

    async def handle_DATA(self, _server: Any, _session: Any, envelope: Any) -> str:
        if self.refuses > 0:
            self.refuses -= 1
            return "451 try again later"
        self.letters.append(BytesParser().parsebytes(envelope.content))
        return "250 OK"

    def token(self, to: str, subject: str, kind: str) -> str:
        """The token of the link in the newest letter of this subject to a person; waits for it."""
        wait_until(lambda: bool(self._texts(to, subject)), f"a letter to {to}", 10)
        found = re.search(rf"https://hub\.example\.org/#/{kind}\?token=(\S+)", self._texts(to, subject)[-1])
        assert found is not None
        return found[1]

    def subjects(self, to: str) -> list[str]:
        return [str(letter["subject"]) for letter in self.letters if letter["to"] == to]

    def _texts(self, to: str, subject: str) -> list[str]:
        mine = [letter for letter in self.letters if letter["to"] == to and subject in str(letter["subject"])]
        return [str(letter.get_payload(decode=True), "utf-8") for letter in mine]  # type: ignore[arg-type]


@contextmanager
def post_office(refuses: int = 0) -> Iterator[PostOffice]:
    port = free_port()
    office = PostOffice(port, refuses)
    controller = Controller(office, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield office
    finally:
        controller.stop()
