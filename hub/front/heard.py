"""Hellos and wills in; what `gateway` says of each gateway's newest word out: when it spoke, its clock, its program."""

from collections.abc import Sequence

from sqlalchemy import update

from hub.database.engine import Database
from hub.database.tables import gateway
from hub.front.places import name
from readings.messages import Hello


def note_hellos(database: Database, hellos: Sequence[tuple[str, Hello, int]]) -> None:
    """(gateway, hello, when it came [Unix ms]), in one transaction. Raises DatabaseAway."""
    if not hellos:
        return
    with database.write() as connection:
        for owner, hello, at_ms in sorted(hellos, key=lambda item: (item[0], item[2])):
            said = {"hello_ms": at_ms, "clock": name(hello.clock), "version": name(hello.version)}
            connection.execute(update(gateway).where(gateway.c.name == owner).values(**said))


def note_bye(database: Database, owner: str, at_ms: int) -> None:
    """The broker says that a gateway has gone. Raises DatabaseAway."""
    with database.write() as connection:
        connection.execute(update(gateway).where(gateway.c.name == owner).values(bye_ms=at_ms))
