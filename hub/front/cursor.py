"""How far each follower has come, in the transaction of its result. A marked cursor asks the follower to begin again."""

import msgspec
from sqlalchemy import Connection, func, insert, select, update

from hub.database.tables import batch, cursor, meta, ready

MARKED = -1
"""`rebuild` sets a cursor to this; its follower wipes its result and reads the log from the beginning."""


IDS_FROM = "ids_from"
"""A key of `meta`, written by a restore: ids of `batch` and `ready` drawn later are above these."""


def position(connection: Connection, follower: str) -> int:
    """The id up to which a follower has read: 0 at first, MARKED when it shall begin again."""
    found = connection.execute(select(cursor.c.position).where(cursor.c.follower == follower)).scalar()
    return 0 if found is None else int(found)


def claim(connection: Connection, follower: str) -> int:
    """`position`, held to the commit: of two processes that follow under one name, the second sees what the first did."""
    asked = select(cursor.c.position).where(cursor.c.follower == follower).with_for_update()
    found = connection.execute(asked).scalar()
    if found is None:
        connection.execute(insert(cursor).values(follower=follower, position=0))
        return 0
    return int(found)


def move(connection: Connection, follower: str, to: int) -> None:
    """In the transaction of the result, after `claim`."""
    connection.execute(update(cursor).where(cursor.c.follower == follower).values(position=to))


def newest_batch(connection: Connection) -> int:
    """The log's end as settle sees it; 0 for an empty log."""
    return int(connection.execute(select(func.coalesce(func.max(batch.c.id), 0))).scalar_one())


def newest_ready(connection: Connection) -> int:
    """The log's end as every other follower sees it; 0 for an empty log."""
    return int(connection.execute(select(func.coalesce(func.max(ready.c.id), 0))).scalar_one())


def last_ready(connection: Connection) -> int:
    """The next id of `ready` is one more."""
    found = connection.execute(select(meta.c.value).where(meta.c.key == IDS_FROM)).scalar()
    return max(newest_ready(connection), id_from(found, "ready"))


def id_from(told: str | None, table: str) -> int:
    """What `meta` says under IDS_FROM of one table; 0 in a hub that was never restored."""
    return 0 if told is None else msgspec.json.decode(told, type=dict[str, int]).get(table, 0)
