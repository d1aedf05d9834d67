"""The front: what is stored, what is acked, and that nothing is stored twice. SQLite and PostgreSQL alike."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select, text

from hub.database import tables
from hub.database.engine import Database, DatabaseAway, open_database
from hub.front.log import Front, Incoming
from readings.batch import encode, seal_header
from readings.messages import Hello
from tests.hub.field import START_MS, Gateway, content, enrol, store
from tests.servers import wait_until


@pytest.fixture
def front(database: Database) -> Front:
    enrol(database, "demo-01", "demo-02")
    database.take()
    return Front(database)


@pytest.fixture
def gateway() -> Gateway:
    made = Gateway()
    made.start()
    made.schema()
    made.samples(10)
    return made


def held(database: Database, stream: str = "00000000000000a1") -> tuple[str, str, int]:
    with database.read() as connection:
        row = connection.execute(select(tables.held).where(tables.held.c.stream == stream)).one()
    return row.ranges, row.gone, row.seen_hi


def batches(database: Database) -> list[tuple[int, int, int, str | None]]:
    with database.read() as connection:
        b = tables.batch.c
        return [tuple(row) for row in connection.execute(select(b.id, b.lo, b.n, b.take).order_by(b.id))]


def test_a_message_is_stored_and_acked_with_what_is_committed(front: Front, gateway: Gateway) -> None:
    (outcome,) = front.store([gateway.came()])
    assert outcome.what == "stored"
    assert outcome.ack is not None
    assert outcome.ack.got == (1, 12)
    assert outcome.ack.held == [(1, 12)]
    assert outcome.ack.incarnation == front.database.incarnation()
    assert held(front.database) == ("[[1,12]]", "[]", 12)


def test_the_bytes_of_the_message_are_kept_as_they_came(front: Front, gateway: Gateway) -> None:
    front.store([gateway.came()])
    with front.database.read() as connection:
        row = connection.execute(select(tables.batch)).one()
    assert bytes(row.header) + bytes(row.body) == gateway.message()
    assert row.received_ms == START_MS + 3_600_000


def test_the_same_message_again_is_acked_and_not_stored(front: Front, gateway: Gateway) -> None:
    first, second = store(front, gateway.came(), gateway.came())
    assert [first.what, second.what] == ["stored", "duplicate"]
    assert second.ack == first.ack
    assert len(batches(front.database)) == 1


def test_the_same_message_twice_in_one_commit_is_stored_once(front: Front, gateway: Gateway) -> None:
    first, second = front.store([gateway.came(), gateway.came()])
    assert [first.what, second.what] == ["stored", "duplicate"]
    assert len(batches(front.database)) == 1


def test_of_an_overlap_only_the_new_numbers_count(front: Front, gateway: Gateway) -> None:
    store(front, gateway.came(1, 4), gateway.came(7, 8), gateway.came(3, 12))
    assert batches(front.database) == [(1, 1, 4, None), (2, 7, 2, None), (3, 3, 10, "[[5,6],[9,12]]")]
    assert held(front.database)[0] == "[[1,12]]"
    assert content(front.database, "conflict") == {"conflict": []}


def test_many_messages_share_a_commit_in_the_order_they_came(front: Front, gateway: Gateway) -> None:
    other = Gateway("demo-02", "00000000000000b1")
    other.start()
    outcomes = front.store([gateway.came(5, 8), other.came(), gateway.came(1, 4), gateway.came(9, 12)])
    assert [o.what for o in outcomes] == ["stored"] * 4
    assert [(lo, n) for _, lo, n, _ in batches(front.database)] == [(5, 4), (1, 1), (1, 4), (9, 4)]
    assert outcomes[0].ack is not None
    assert outcomes[0].ack.held == [(1, 12)], "an ack tells what is committed when it is sent"


def test_the_same_number_with_other_contents_is_told_and_never_overwrites(front: Front, gateway: Gateway) -> None:
    front.store([gateway.came(1, 6)])
    clone = Gateway()
    clone.rows = [*gateway.rows[:4], gateway.rows[7], *gateway.rows[5:]]
    outcome = front.store([clone.came(3, 8)])[0]
    assert outcome.what == "stored"
    with front.database.read() as connection:
        found = connection.execute(select(tables.conflict)).one()
    assert (found.stream, found.seq, found.batch) == (gateway.stream, 5, 1)
    assert found.crc_held != found.crc_came
    front.store([clone.came(3, 8)])
    assert front.counters["conflict"] == 1, "a conflict is told once"


def test_a_damaged_message_is_neither_stored_nor_acked(front: Front, gateway: Gateway) -> None:
    good = bytearray(gateway.message())
    for place in (0, 5, 20, 27, 40, len(good) - 1):
        bad = bytearray(good)
        bad[place] ^= 0x10
        (outcome,) = front.store([Incoming("demo-01", bytes(bad), START_MS)])
        assert (outcome.what, outcome.ack) == ("refused", None), place
    for payload in (b"", b"HM", good[:-1], seal_header(gateway.stream, 1, 0, b"x"), seal_header(gateway.stream, 1, 16385, b"x")):
        (outcome,) = front.store([Incoming("demo-01", bytes(payload), START_MS)])
        assert (outcome.what, outcome.ack) == ("refused", None)
    assert batches(front.database) == []


def test_a_body_that_cannot_be_read_is_held_and_acked(front: Front, gateway: Gateway) -> None:
    (outcome,) = front.store([Incoming("demo-01", seal_header(gateway.stream, 1, 3, b"poison"), START_MS)])
    assert outcome.what == "stored"
    assert outcome.ack is not None
    assert outcome.ack.held == [(1, 3)]


def test_a_later_version_with_a_good_header_is_held(front: Front, gateway: Gateway) -> None:
    (outcome,) = front.store([Incoming("demo-01", seal_header(gateway.stream, 1, 3, b"later", version=2), START_MS)])
    assert outcome.what == "stored"


def test_an_unknown_gateway_is_refused(front: Front) -> None:
    stranger = Gateway("stranger")
    stranger.start()
    (outcome,) = front.store([stranger.came()])
    assert (outcome.what, outcome.ack) == ("refused", None)
    assert front.answer("stranger", stranger.hello()) is None


def test_a_number_that_is_gone_is_stored_when_it_arrives_after_all(front: Front, gateway: Gateway) -> None:
    front.store([gateway.came(5, 12)])
    with front.database.write() as connection:
        connection.execute(text("UPDATE held SET gone = '[[1,4]]'"))
    answer = front.answer("demo-01", gateway.hello())
    assert answer is not None
    assert answer.held == {gateway.stream: [(1, 12)]}
    assert answer.gone == {gateway.stream: [(1, 4)]}
    assert front.store([gateway.came(1, 4)])[0].what == "stored"


def test_two_gateways_may_use_one_stream_number(front: Front, gateway: Gateway) -> None:
    other = Gateway("demo-02")
    other.start()
    first, second = front.store([gateway.came(), other.came()])
    assert first.ack is not None
    assert second.ack is not None
    assert (first.ack.held, second.ack.held) == ([(1, 12)], [(1, 1)])


def test_a_hello_registers_its_stream_before_the_answer(front: Front, gateway: Gateway) -> None:
    answer = front.answer("demo-01", gateway.hello("n7", previous=("00000000000000a0", 9)))
    assert answer is not None
    assert (answer.nonce, answer.held, answer.safe) == ("n7", {gateway.stream: []}, {})
    assert (answer.window.messages, answer.window.bytes) == (2, 32768)
    with front.database.read() as connection:
        row = connection.execute(select(tables.held)).one()
    assert (row.no, row.card, row.previous, row.seen_hi) == (1, "card-1", '["00000000000000a0",9]', 12)


def test_a_hello_of_a_card_that_refuses_commits_registers_nothing(front: Front) -> None:
    hello = Hello("n1", "card-1", None, None, [], 0, 0, "unsynced", "0.1.0")
    answer = front.answer("demo-01", hello)
    assert answer is not None
    assert answer.held == {}
    assert content(front.database, "held") == {"held": []}


@pytest.mark.parametrize("stream", ["", "xyz", "00000000000000A1", "f0000000000000a1", "0" * 15 + "\0", "0" * 17])
def test_a_hello_with_what_is_no_stream_is_not_answered(front: Front, stream: str) -> None:
    hello = Hello("n1", "card-1", stream, None, [(stream, 1, 5)], 0, 0, "synced", "0.1.0")
    assert front.answer("demo-01", hello) is None
    assert content(front.database, "held") == {"held": []}


def test_the_highest_number_seen_comes_from_hellos_and_messages(front: Front, gateway: Gateway) -> None:
    front.store([gateway.came(1, 6)])
    assert held(front.database)[2] == 6
    front.answer("demo-01", gateway.hello())
    assert held(front.database)[2] == 12
    front.store([gateway.came(7, 8)])
    assert held(front.database) == ("[[1,8]]", "[]", 12)


def test_a_database_that_fails_in_the_middle_stores_and_acks_nothing(front: Front, gateway: Gateway) -> None:
    with front.database.write() as connection:
        connection.execute(text("ALTER TABLE held RENAME TO held_away"))
    with pytest.raises(Exception, match="held"):
        front.store([gateway.came()])
    with front.database.write() as connection:
        connection.execute(text("ALTER TABLE held_away RENAME TO held"))
    assert batches(front.database) == []
    assert front.store([gateway.came()])[0].what == "stored"


DIES = """
import os, sys
from hub.database.engine import open_database
from hub.front.log import Front, Incoming

class Dies(Front):
    def _acks(self, *_):
        os.kill(os.getpid(), 9)

Dies(open_database(sys.argv[1])).store([Incoming("demo-01", bytes.fromhex(sys.argv[2]), 1)])
"""


def test_a_kill_between_commit_and_ack_makes_the_resend_a_no_op(front: Front, gateway: Gateway, database_url: str) -> None:
    killed = subprocess.run([sys.executable, "-c", DIES, database_url, gateway.message().hex()])
    assert killed.returncode == -9
    (outcome,) = front.store([gateway.came()])
    assert outcome.what == "duplicate"
    assert outcome.ack is not None
    assert outcome.ack.held == [(1, 12)]
    assert len(batches(front.database)) == 1


def test_two_bridges_that_store_overlapping_messages_store_each_number_once(database_url: str) -> None:
    database = open_database(database_url)
    enrol(database, "demo-01")
    gateway = Gateway()
    gateway.start()
    gateway.schema()
    gateway.samples(200)

    def bridge(step: int) -> None:
        own = open_database(database_url)
        front = Front(own)
        for lo in range(1, 200, step):
            front.store([gateway.came(lo, min(202, lo + 2 * step)), gateway.came(max(1, lo - step), lo)])
        own.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(bridge, (3, 5, 7)))
    counted: list[int] = []
    with database.read() as connection:
        for row in connection.execute(select(tables.batch)):
            taken = json.loads(row.take) if row.take else [[row.lo, row.lo + row.n - 1]]
            counted += [seq for lo, hi in taken for seq in range(lo, hi + 1)]
        assert connection.execute(select(func.count()).select_from(tables.conflict)).scalar() == 0
    assert sorted(counted) == list(range(1, 203))
    database.close()


@pytest.mark.server
def test_a_stream_that_another_bridge_holds_is_left_out_and_the_others_are_stored(postgres: str) -> None:
    database = open_database(postgres, create=True)
    enrol(database, "demo-01", "demo-02")
    front = Front(database)
    gateway, other = Gateway(), Gateway("demo-02", "00000000000000b1")
    gateway.start()
    other.start()
    store(front, gateway.came(), other.came())
    gateway.schema()
    other.schema()
    with database.write() as connection:
        connection.execute(text("SELECT * FROM held WHERE stream = :s FOR UPDATE"), {"s": gateway.stream})
        outcomes = front.store([gateway.came(2, 2), other.came(2, 2)])
    assert [o.what for o in outcomes] == ["busy", "stored"]
    assert outcomes[0].ack is None
    assert front.store([gateway.came(2, 2)])[0].what == "stored"
    database.close()


@pytest.mark.server
def test_a_postgresql_that_cuts_its_sessions_is_away_for_a_moment(postgres: str, gateway: Gateway) -> None:
    database, other = open_database(postgres, create=True), open_database(postgres)
    enrol(database, "demo-01")
    front = Front(database)
    front.store([gateway.came(1, 4)])

    def cut() -> None:
        with other.write() as connection:
            ask = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            connection.execute(text(f"{ask} AND pid <> pg_backend_pid()"))

    cut()
    assert front.store([gateway.came(5, 8)])[0].what == "stored", "a session that died while idle is noticed before its use"

    def asks_after_the_cut() -> None:
        with database.write_cursor() as cursor:
            cut()
            cursor.execute("SELECT 1")

    with pytest.raises(DatabaseAway):
        asks_after_the_cut()
    assert front.store([gateway.came(5, 12)])[0].what == "stored"
    assert held(database)[0] == "[[1,12]]"
    database.close()
    other.close()


def test_a_locked_sqlite_file_keeps_the_message_unacked(tmp_path: Path, gateway: Gateway) -> None:
    url = f"sqlite:///{tmp_path / 'hub.db'}"
    database, other = open_database(url, create=True, busy_ms=50), open_database(url)
    enrol(database, "demo-01")
    front = Front(database)
    with other.write(), pytest.raises(DatabaseAway):
        front.store([gateway.came()])
    assert front.store([gateway.came()])[0].what == "stored"
    database.close()
    other.close()


@pytest.mark.server
def test_another_process_on_postgresql_hears_of_a_commit_at_once(postgres: str, gateway: Gateway) -> None:
    database, other = open_database(postgres, create=True), open_database(postgres)
    enrol(database, "demo-01")
    stop = threading.Event()
    thread = threading.Thread(target=other.hear, args=(stop,))
    thread.start()
    wait_until(lambda: other.bell.rung == 1, "the first ring, which says that it listens")
    Front(database).store([gateway.came()])
    assert other.bell.wait(1, 20) == 2
    stop.set()
    thread.join()
    database.close()
    other.close()


def test_a_gateway_that_returns_with_many_others_is_asked_to_wait_with_its_backlog(front: Front, gateway: Gateway) -> None:
    answers = front.answers([("demo-01", gateway.hello(f"n{i}")) for i in range(50)])
    assert {a.wait_s for a in answers if a} == {10}


def test_a_message_of_the_largest_size_is_stored(front: Front) -> None:
    gateway = Gateway()
    gateway.start()
    gateway.schema()
    gateway.samples(16_382)
    payload = encode(gateway.stream, 1, gateway.rows)
    assert front.store([Incoming("demo-01", payload, START_MS)])[0].what == "stored"
