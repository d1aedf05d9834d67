"""Tokens: signed by our key, for us, for a while; anything else is refused with the reason."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from hub.auth.guard import Policy, guard
from hub.auth.rights import member
from hub.auth.secrets import kept
from hub.auth.tokens import (
    AUDIENCE,
    ISSUER,
    LEEWAY_S,
    LIFE_S,
    LOOK_S,
    BadToken,
    Caller,
    NetworkRole,
    Role,
    Tokens,
    keys_in,
    remove,
    rotate,
)
from hub.problems import Problem
from readings.errors import Stop

ADA = Caller("ada", Role.ADMIN)


@pytest.fixture
def tokens(tmp_path: Path) -> Tokens:
    return Tokens.open(tmp_path)


def test_a_token_gives_back_its_caller(tokens: Tokens) -> None:
    member_of = Caller("ben", Role.AUTHENTICATED, {1: NetworkRole.VIEWER, 7: NetworkRole.OPERATOR})
    assert tokens.read(tokens.sign(ADA)) == ADA
    assert tokens.read(tokens.sign(member_of)) == member_of


def test_a_token_ends_after_a_quarter_of_an_hour_unless_told_otherwise(tokens: Tokens) -> None:
    claims = jwt.decode(tokens.sign(ADA, now_s=1000), options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == LIFE_S == 900
    with pytest.raises(BadToken, match="expired"):
        tokens.read(tokens.sign(ADA, life_s=-LEEWAY_S - 1))


def test_the_key_is_made_once_is_ed25519_and_its_owners_only(tmp_path: Path) -> None:
    first = Tokens.open(tmp_path).sign(ADA)
    assert Tokens.open(tmp_path).read(first) == ADA
    (key,) = (tmp_path / "keys").iterdir()
    assert key.name == "token-1.pem"
    assert key.stat().st_mode & 0o077 == 0
    assert jwt.get_unverified_header(first)["alg"] == "EdDSA"


def test_a_new_key_signs_at_once_and_the_old_one_still_verifies(tmp_path: Path) -> None:
    now = [0.0]
    running = Tokens.open(tmp_path, lambda: now[0])
    old = running.sign(ADA)
    added = rotate(tmp_path)
    assert (added.number, (tmp_path / "keys" / "token-2.pem").stat().st_mode & 0o077) == (2, 0)
    assert kid_of(running.sign(ADA)) == kid_of(old)  # not looked yet
    now[0] = LOOK_S
    assert kid_of(running.sign(ADA)) == added.kid != kid_of(old)
    assert running.read(old) == ADA


def test_a_token_signed_by_another_process_with_a_key_just_added_is_read_at_once(tmp_path: Path) -> None:
    running = Tokens.open(tmp_path)
    rotate(tmp_path)
    assert running.read(Tokens.open(tmp_path).sign(ADA)) == ADA


def test_a_removed_key_verifies_no_more_and_the_first_is_not_made_again(tmp_path: Path) -> None:
    now = [0.0]
    running = Tokens.open(tmp_path, lambda: now[0])
    old = running.sign(ADA)
    rotate(tmp_path)
    assert remove(tmp_path, kid_of(old)).number == 1
    now[0] = LOOK_S
    with pytest.raises(BadToken, match="does not have"):
        running.read(old)
    assert [key.number for key in keys_in(tmp_path / "keys")] == [2]
    assert kid_of(Tokens.open(tmp_path).sign(ADA)) == kid_of(running.sign(ADA))
    assert rotate(tmp_path).number == 3


def test_the_key_that_signs_and_one_that_is_not_there_are_not_removed(tmp_path: Path) -> None:
    signing = kid_of(Tokens.open(tmp_path).sign(ADA))
    with pytest.raises(Stop, match="it is the key that signs"):
        remove(tmp_path, signing)
    for kid in ("0" * 16, "../token-1.pem", ""):
        with pytest.raises(Stop, match="no key of this id"):
            remove(tmp_path, kid)
    assert len(list((tmp_path / "keys").iterdir())) == 1


def test_a_broken_key_file_that_appears_later_changes_nothing_and_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    running = Tokens.open(tmp_path, lambda: now[0])
    old = running.sign(ADA)
    (tmp_path / "keys" / "token-2.pem").write_bytes(b"half a key")
    now[0] = LOOK_S
    assert kid_of(running.sign(ADA)) == kid_of(old)
    assert running.read(old) == ADA
    assert "token keys stay as they were" in caplog.text
    assert "token-2.pem" in caplog.text


def test_a_token_says_what_rfc_9068_wants_said(tokens: Tokens) -> None:
    person = Caller("ada", Role.ADMIN, None, account=3, session="5f5f")
    token = tokens.sign(person, now_s=1000)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert {name: claims[name] for name in ("iss", "aud", "sub", "sid", "role", "iat", "exp")} == {
        "iss": ISSUER, "aud": AUDIENCE, "sub": "3", "sid": "5f5f", "role": "admin", "iat": 1000, "exp": 1900,
    }  # fmt: skip
    assert len(claims["jti"]) == 32
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "typ": "at+jwt", "kid": kid_of(token)}


def kid_of(token: str) -> str:
    return str(jwt.get_unverified_header(token)["kid"])


def forged(tokens: Tokens, **changed: object) -> str:
    """A token with other claims, signed by a key of its own under our key's id."""
    real = tokens.sign(ADA)
    claims = jwt.decode(real, options={"verify_signature": False}) | changed
    return jwt.encode(claims, Ed25519PrivateKey.generate(), algorithm="EdDSA", headers=jwt.get_unverified_header(real))


def unsigned(tokens: Tokens, algorithm: str) -> str:
    head, body, signature = tokens.sign(ADA).split(".")
    header = json.loads(urlsafe_b64decode(head + "==")) | {"alg": algorithm}
    return ".".join(
        (urlsafe_b64encode(json.dumps(header).encode()).decode().rstrip("="), body, signature if algorithm == "HS256" else "")
    )


def test_a_token_that_is_not_ours_or_was_changed_is_refused(tokens: Tokens, tmp_path: Path) -> None:
    head, body, signature = tokens.sign(ADA).split(".")
    raised = json.loads(urlsafe_b64decode(body + "==")) | {"exp": 9_999_999_999}
    longer = urlsafe_b64encode(json.dumps(raised).encode()).decode().rstrip("=")
    bad = [
        forged(tokens),
        unsigned(tokens, "none"),
        unsigned(tokens, "HS256"),
        Tokens.open(tmp_path / "another").sign(ADA),
        f"{head}.{longer}.{signature}",
        f"{head}.{body}",
        "x",
        "",
        "é.é.é",
        "a.b.c",
    ]
    for token in bad:
        with pytest.raises(BadToken):
            tokens.read(token)


@pytest.mark.parametrize(
    ("claim", "value"),
    [
        ("aud", "another"),
        ("iss", "another"),
        ("role", "root"),
        ("net", "all"),
        ("net", 5),
        ("sub", None),
        ("exp", None),
        ("role", None),
    ],
)
def test_a_token_of_ours_for_something_else_is_refused(tmp_path: Path, claim: str, value: object) -> None:

    tokens = Tokens.open(tmp_path)
    real = tokens.sign(ADA)
    claims = jwt.decode(real, options={"verify_signature": False})
    assert (claims["aud"], claims["iss"]) == (AUDIENCE, ISSUER)
    changed = {name: said for name, said in (claims | {claim: value}).items() if said is not None}
    key = load_pem_private_key((tmp_path / "keys" / "token-1.pem").read_bytes(), None)
    token = jwt.encode(changed, key, algorithm="EdDSA", headers=jwt.get_unverified_header(real))  # type: ignore[arg-type]
    with pytest.raises(BadToken):
        tokens.read(token)


def test_a_key_file_that_is_none_stops_the_hub_and_is_named(tmp_path: Path) -> None:
    kept(tmp_path / "keys" / "token-1.pem", lambda: b"no key")
    with pytest.raises(Stop, match=r"token-1\.pem: it is no private key"):
        Tokens.open(tmp_path)


NOBODY, BEN = None, Caller("ben", Role.AUTHENTICATED, {1: NetworkRole.VIEWER})


@pytest.mark.parametrize(
    ("caller", "policy", "network", "status"),
    [
        (NOBODY, Policy.PUBLIC, None, None),
        (NOBODY, Policy.ONE_TIME_TOKEN, None, None),
        (NOBODY, Policy.AUTHENTICATED, None, 401),
        (NOBODY, Policy.ADMIN, None, 401),
        (BEN, Policy.AUTHENTICATED, None, None),
        (BEN, Policy.AUTHENTICATED, 1, None),
        (BEN, Policy.AUTHENTICATED, 2, 404),
        (BEN, Policy.ADMIN, 1, 403),
        (ADA, Policy.ADMIN, None, None),
        (ADA, Policy.ADMIN, 2, None),
        (Caller("eve", Role.ADMIN, {1: NetworkRole.ADMIN}), Policy.ADMIN, 2, 404),
        (Caller("eve", Role.ADMIN, {1: NetworkRole.ADMIN}), Policy.ADMIN, None, 403),
        (Caller("push", Role.AUTHENTICATED, None, gateway=5), Policy.AUTHENTICATED, None, 403),
        (Caller("push", Role.AUTHENTICATED, None, gateway=5), Policy.AUTHENTICATED, 1, 404),
    ],
)
def test_the_guard_lets_in_who_the_policy_names(
    caller: Caller | None, policy: Policy, network: int | None, status: int | None
) -> None:
    if status is None:
        guard(caller, policy, network)
        return
    with pytest.raises(Problem) as refused:
        guard(caller, policy, network)
    assert refused.value.kind.status == status


def test_nobody_is_a_member_anywhere_and_an_admin_of_all_everywhere() -> None:
    assert not member(None, 1)
    assert member(ADA, 99)
    assert member(BEN, 1)
    assert not member(BEN, 2)
