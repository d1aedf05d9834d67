"""The audit log: appended by whoever changes something, whole as long as nobody touched it, on both databases."""

import json
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from hub import audit
from hub.audit import FIRST, Verified, record, verify
from hub.auth.tokens import Caller, Role
from hub.database import tables
from hub.database.engine import Database

ENTRY = tables.audit


def filled(database: Database, entries: int = 5) -> list[str]:
    """The hash of each of so many entries."""
    with database.write() as connection:
        for number in range(1, entries + 1):
            record(connection, "shell", "gateway.revoke", f"gateway:demo-{number:02}", network=1, reason="à la carte")
    with database.read() as connection:
        return list(connection.execute(select(ENTRY.c.hash).order_by(ENTRY.c.id)).scalars())


def checked(database: Database, seen: str | None = None) -> Verified:
    with database.read() as connection:
        return verify(connection, seen=seen)


def by_force(database: Database, tamper: Callable[[Connection], Any]) -> None:
    """What somebody does who owns the database: takes the triggers away first."""
    with database.write() as connection:
        if database.dialect == "sqlite":
            for name in ("audit_update", "audit_delete", "audit_insert"):
                connection.execute(text(f"DROP TRIGGER {name}"))
        else:
            connection.execute(text("DROP TRIGGER audit_append_only ON audit"))
        tamper(connection)


def renumber(connection: Connection, before: int, after: int) -> None:
    connection.execute(update(ENTRY).where(ENTRY.c.id == before).values(id=after))


def test_an_entry_says_who_did_what_to_which_object(database: Database) -> None:
    ada = Caller("ada", Role.ADMIN, account=3, session="5f")
    with database.write() as connection:
        record(connection, ada, "member.add", "account:4", network=1, address="192.0.2.1", role="viewer")
        record(connection, "shell", "keys.rotate", "key:abc")
    with database.read() as connection:
        first, second = connection.execute(select(ENTRY).order_by(ENTRY.c.id)).all()
    assert (first.id, first.actor, first.action, first.object) == (1, "account:3", "member.add", "account:4")
    assert (first.network, first.address, first.detail, first.previous) == (1, "192.0.2.1", '{"role":"viewer"}', FIRST)
    assert (second.id, second.actor, second.detail, second.previous) == (2, "shell", "{}", first.hash)
    assert checked(database) == Verified(2, second.hash)


@pytest.mark.parametrize(
    ("caller", "name"),
    [
        (Caller("ada", Role.ADMIN), "token:ada"),
        (Caller("ada", Role.ADMIN, account=3), "account:3"),
        (Caller("ada", Role.ADMIN, account=3, key=7), "key:7"),
        (Caller("demo-01", Role.AUTHENTICATED, {}, key=7, gateway=1), "gateway:demo-01"),
    ],
)
def test_each_kind_of_caller_has_a_name_of_its_own(caller: Caller, name: str) -> None:
    assert caller.audit_name == name


def test_the_hash_is_the_one_that_the_documentation_shows(root: Path) -> None:
    page = (root / "docs" / "audit.md").read_text()
    line, told = re.search(r"```json\n(.*)\n```", page), re.search(r"sha256: ([0-9a-f]{64})", page)
    assert line is not None
    assert told is not None
    assert f"one line of {len(line[1])} bytes" in page
    names = ("id", "time_ms", "actor", "address", "action", "object", "network", "detail", "previous")
    entry = dict(zip(names, json.loads(line[1]), strict=True))
    assert audit.hash_of(entry) == sha256(line[1].encode()).hexdigest() == told[1]


def test_an_empty_log_is_whole(one_database: Database) -> None:
    assert checked(one_database) == Verified(0, FIRST)
    assert checked(one_database, FIRST).broken_at is None


def test_what_was_rolled_back_leaves_no_gap(one_database: Database) -> None:
    filled(one_database, 2)
    with suppress(KeyError), one_database.write() as connection:
        record(connection, "shell", "gateway.revoke", "gateway:never")
        raise KeyError
    assert len(filled(one_database, 1)) == 3
    assert checked(one_database).entries == 3


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'me' WHERE id = 2", "DELETE FROM audit WHERE id = 2"])
def test_the_database_refuses_to_change_or_delete_an_entry(database: Database, statement: str) -> None:
    filled(database)
    with pytest.raises(DBAPIError, match="append-only"), database.write() as connection:
        connection.execute(text(statement))
    assert checked(database).entries == 5


def test_no_way_round_the_refusal_is_left_open(database: Database) -> None:
    filled(database)
    around = "REPLACE INTO audit SELECT * FROM audit WHERE id = 2" if database.dialect == "sqlite" else "TRUNCATE audit"
    with pytest.raises(DBAPIError, match="append-only"), database.write() as connection:
        connection.execute(text(around))
    assert checked(database).entries == 5


@pytest.mark.parametrize("column", ["time_ms", "actor", "address", "action", "object", "network", "detail"])
def test_a_changed_entry_is_found(one_database: Database, column: str) -> None:
    filled(one_database)
    value = 9 if column in ("time_ms", "network") else "x"
    by_force(one_database, lambda connection: connection.execute(update(ENTRY).where(ENTRY.c.id == 3).values({column: value})))
    found = checked(one_database)
    assert (found.entries, found.broken_at, "was changed" in found.why) == (2, 3, True)


def test_a_changed_entry_with_a_new_hash_breaks_the_next(one_database: Database) -> None:
    filled(one_database)

    def tamper(connection: Connection) -> None:
        entry = dict(connection.execute(select(ENTRY).where(ENTRY.c.id == 3)).one()._mapping) | {"actor": "me"}
        connection.execute(text("UPDATE audit SET actor = 'me', hash = :h WHERE id = 3"), {"h": audit.hash_of(entry)})

    by_force(one_database, tamper)
    assert (checked(one_database).broken_at, "does not follow" in checked(one_database).why) == (4, True)


@pytest.mark.parametrize("first", [1, 3])
def test_a_deleted_entry_is_found(one_database: Database, first: int) -> None:
    filled(one_database)
    by_force(one_database, lambda connection: connection.execute(delete(ENTRY).where(ENTRY.c.id == first)))
    found = checked(one_database)
    assert (found.broken_at, f"entry {first} is missing" in found.why) == (first, True)


def test_a_deleted_entry_whose_number_is_given_to_the_next_is_found(one_database: Database) -> None:
    filled(one_database)

    def tamper(connection: Connection) -> None:
        connection.execute(text("DELETE FROM audit WHERE id = 3"))
        for number in (4, 5):
            renumber(connection, number, number - 1)

    by_force(one_database, tamper)
    assert checked(one_database).broken_at == 3


def test_an_entry_put_in_between_is_found(one_database: Database) -> None:
    filled(one_database)

    def tamper(connection: Connection) -> None:
        for number in (5, 4, 3):
            renumber(connection, number, number + 1)
        before = connection.execute(select(ENTRY.c.hash).where(ENTRY.c.id == 2)).scalar_one()
        entry = {"id": 3, "time_ms": 1, "actor": "ada", "address": None, "action": "account.login", "object": "account:1"}
        entry |= {"network": None, "detail": "{}", "previous": before}
        connection.execute(insert(ENTRY).values(**entry, hash=audit.hash_of(entry)))

    by_force(one_database, tamper)
    assert checked(one_database).broken_at == 4


def test_two_entries_that_changed_places_are_found(one_database: Database) -> None:
    filled(one_database)

    def tamper(connection: Connection) -> None:
        for before, after in ((2, 99), (4, 2), (99, 4)):
            renumber(connection, before, after)

    by_force(one_database, tamper)
    assert checked(one_database).broken_at == 2


def test_a_log_cut_off_at_its_end_is_found_by_the_head_that_was_told(database: Database) -> None:
    hashes = filled(database)
    by_force(database, lambda connection: connection.execute(text("DELETE FROM audit WHERE id > 3")))
    assert checked(database) == Verified(3, hashes[2])  # the chain alone cannot know
    assert checked(database, hashes[2]).broken_at is None
    found = checked(database, hashes[4])
    assert (found.broken_at, "cut off" in found.why) == (4, True)


def test_writers_at_once_keep_one_chain(database: Database) -> None:
    def write(number: int) -> None:
        with database.write() as connection:
            record(connection, "shell", "test.write", f"writer:{number}")

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(write, range(200)))
    assert checked(database).entries == 200
    with database.read() as connection:
        assert len(set(connection.execute(select(ENTRY.c.object)).scalars())) == 200


@pytest.mark.parametrize(
    "detail",
    [
        {"password": "x"},
        {"new_password": "x"},
        {"token": "x"},
        {"refresh_token": "x"},
        {"key": "x"},
        {"api_key": "x"},
        {"recovery_codes": ["x"]},
        {"changed": {"secret": "x"}},
        {"changed": [{"Secret": "x"}]},
        {"link": "x"},
    ],
)
def test_a_secret_is_never_written(one_database: Database, detail: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="keeps no secrets"), one_database.write() as connection:
        record(connection, "shell", "test.write", "x", **detail)
    with one_database.write() as connection:
        record(connection, "shell", "test.write", "x", key=7, totp=True, monkey="x", keyboard="x")
    assert checked(one_database).entries == 1


def test_a_text_that_no_database_stores_costs_neither_the_entry_nor_the_change(database: Database) -> None:
    with database.write() as connection:
        record(connection, None, "account.login", "nul \0 and \ud800", address="\0", agent="\0 \ud800")
    with database.read() as connection:
        found = connection.execute(select(ENTRY)).one()
    assert (found.actor, found.object, found.address) == ("anybody", "nul ? and ?", "?")
    assert checked(database).entries == 1


def test_the_head_is_told_to_the_log(one_database: Database, caplog: pytest.LogCaptureFixture) -> None:
    hashes = filled(one_database, 2)
    with caplog.at_level(logging.INFO, "hub.audit"), one_database.read() as connection:
        audit.tell_head(connection)
    assert caplog.messages == [f"audit head id=2 hash={hashes[1]}"]
