"""One token, one credential: invited, redeemed, refused, revoked; with a real database and a real broker folder."""

import threading
from pathlib import Path

import pytest
from sqlalchemy import select

from hub import problems
from hub.auth.secrets import hub_secret
from hub.database import tables
from hub.database.engine import Database
from hub.fleet import broker, enrolment
from hub.problems import Kind, Problem
from readings.errors import Retry
from tests.hub.field import content

SECRET = bytes(range(32))
DAY_MS = 24 * 3600 * 1000


def test_a_token_becomes_a_credential_that_broker_and_hub_accept(database: Database, broker_dir: Path) -> None:
    token = enrolment.invite(database, "unilag-01")
    assert enrolment.keys(database, SECRET)("unilag-01") is None
    credential = enrolment.redeem(database, token, secret=SECRET, broker_dir=broker_dir)
    assert (credential.gateway, credential.key_version, credential.ca) == ("unilag-01", 1, None)
    line = next(text for text in (broker_dir / "passwords").read_text().splitlines() if text.startswith("unilag-01:"))
    assert broker.fits(credential.password, line.partition(":")[2])
    assert enrolment.keys(database, SECRET)("unilag-01") == (bytes.fromhex(credential.key), 1)


def test_neither_token_nor_key_nor_password_lies_in_the_database(database: Database, broker_dir: Path) -> None:
    token = enrolment.invite(database, "unilag-01")
    credential = enrolment.redeem(database, token, secret=SECRET, broker_dir=broker_dir)
    held = repr(content(database, *tables.metadata.tables)).encode()
    held += b"".join(path.read_bytes() for path in broker_dir.parent.glob("hub.db*"))
    assert b"unilag-01" in held
    for hidden in (token, credential.key, credential.password):
        assert hidden.encode() not in held
        assert bytes.fromhex(hidden) not in held


def refusal(database: Database, token: str, broker_dir: Path, now_ms: int | None = None) -> Kind:
    with pytest.raises(Problem) as refused:
        enrolment.redeem(database, token, secret=SECRET, broker_dir=broker_dir, now_ms=now_ms)
    return refused.value.kind


def test_a_used_expired_cut_withdrawn_or_invented_token_is_refused_by_its_name(database: Database, broker_dir: Path) -> None:
    token = enrolment.invite(database, "unilag-01", now_ms=0)
    assert refusal(database, token, broker_dir, now_ms=DAY_MS) is problems.TOKEN_EXPIRED
    assert refusal(database, token[:-1], broker_dir) is problems.TOKEN_CUT
    assert refusal(database, "", broker_dir) is problems.TOKEN_CUT
    assert refusal(database, "0" * 48, broker_dir) is problems.TOKEN_UNKNOWN
    newer = enrolment.invite(database, "unilag-01")
    assert refusal(database, token, broker_dir) is problems.TOKEN_REVOKED
    enrolment.redeem(database, f" {newer}\n", secret=SECRET, broker_dir=broker_dir)
    assert refusal(database, newer, broker_dir) is problems.TOKEN_USED
    assert broker.users(broker_dir) == {"hub", "viewer", "unilag-01"}


def test_of_twenty_who_redeem_one_token_at_once_one_wins(database: Database, broker_dir: Path) -> None:
    token = enrolment.invite(database, "unilag-01")
    won: list[int] = []
    lost: list[Kind] = []

    def redeem() -> None:
        try:
            won.append(enrolment.redeem(database, token, secret=SECRET, broker_dir=broker_dir).key_version)
        except Problem as error:
            lost.append(error.kind)

    threads = [threading.Thread(target=redeem) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (won, lost) == ([1], [problems.TOKEN_USED] * 19)


def test_without_a_broker_folder_the_token_stays_good(database: Database, broker_dir: Path, tmp_path: Path) -> None:
    token = enrolment.invite(database, "unilag-01")
    assert refusal(database, token, tmp_path / "elsewhere") is problems.UNAVAILABLE
    assert enrolment.redeem(database, token, secret=SECRET, broker_dir=broker_dir).key_version == 1


def test_a_name_already_enrolled_says_what_to_do(database: Database, broker_dir: Path) -> None:
    enrolment.redeem(database, enrolment.invite(database, "unilag-01"), secret=SECRET, broker_dir=broker_dir)
    with pytest.raises(enrolment.NotEnrolled, match=r"unilag-01: is enrolled already; .*revoke unilag-01"):
        enrolment.invite(database, "unilag-01")


@pytest.mark.parametrize("name", ["", "a", "-a", "Lagos", "a_b", "a/b", "gw+", "x" * 32, "hub", "viewer", "é-01"])
def test_a_name_that_a_topic_or_the_broker_cannot_bear_is_refused(database: Database, name: str) -> None:
    with pytest.raises(enrolment.NotEnrolled, match="is no name for a gateway; use 2 to 31"):
        enrolment.invite(database, name)


def test_a_revoked_gateway_is_refused_by_hub_and_broker_and_comes_back_with_a_new_key(
    database: Database, broker_dir: Path
) -> None:
    now = [0.0]
    keys = enrolment.keys(database, SECRET, clock=lambda: now[0])
    first = enrolment.redeem(database, enrolment.invite(database, "unilag-01"), secret=SECRET, broker_dir=broker_dir)
    assert keys("unilag-01") == (bytes.fromhex(first.key), 1)
    enrolment.revoke(database, "unilag-01", broker_dir=broker_dir)
    now[0] += enrolment.KEYS_KEPT_S
    assert keys("unilag-01") is None
    assert "unilag-01" not in broker.users(broker_dir)
    second = enrolment.redeem(database, enrolment.invite(database, "unilag-01"), secret=SECRET, broker_dir=broker_dir)
    assert second.key_version == 2
    assert second.key != first.key
    now[0] += enrolment.KEYS_KEPT_S
    assert keys("unilag-01") == (bytes.fromhex(second.key), 2)


def test_revoking_withdraws_tokens_that_are_still_out(database: Database, broker_dir: Path) -> None:
    token = enrolment.invite(database, "unilag-01")
    enrolment.revoke(database, "unilag-01", broker_dir=broker_dir)
    assert refusal(database, token, broker_dir) is problems.TOKEN_REVOKED


def test_revoking_an_unknown_gateway_or_without_a_broker_says_so(database: Database, broker_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(enrolment.NotEnrolled, match="unilag-09: there is no gateway of this name"):
        enrolment.revoke(database, "unilag-09", broker_dir=broker_dir)
    enrolment.redeem(database, enrolment.invite(database, "unilag-01"), secret=SECRET, broker_dir=broker_dir)
    with pytest.raises(Retry, match="point BROKER_DIR there"):
        enrolment.revoke(database, "unilag-01", broker_dir=tmp_path / "elsewhere")
    assert enrolment.keys(database, SECRET)("unilag-01") is None


def test_the_wish_for_a_private_station_is_kept_for_settle(database: Database) -> None:
    enrolment.invite(database, "unilag-01", visibility="private")
    with database.read() as connection:
        gateway = connection.execute(select(tables.gateway.c.id)).scalar_one()
        kept = select(tables.meta.c.value).where(tables.meta.c.key == f"visibility/{gateway}")
        assert connection.execute(kept).scalar_one() == "private"


def test_the_hubs_secret_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    made: list[bytes] = []
    threads = [threading.Thread(target=lambda: made.append(hub_secret(tmp_path))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(made) == {hub_secret(tmp_path)}
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["hub-secret"]
    assert (tmp_path / "keys" / "hub-secret").stat().st_mode & 0o077 == 0
