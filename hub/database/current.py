"""A URL in; an opened database whose tables are those of this version out."""

from hub.database.engine import Database, open_database, sqlite_path
from hub.database.migrate import check


def open_current(url: str) -> Database:
    """SQLite is migrated at each start; PostgreSQL is refused until `migrate` ran, since several hubs may share it.

    Raises Stop, for tables of a newer hub too; Retry when the database cannot be reached.
    """
    if sqlite_path(url) is None:
        check(url)
        return open_database(url)
    return open_database(url, create=True)
