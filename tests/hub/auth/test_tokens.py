"""Tokens: signed by our key, for us, for a while; anything else is refused with the reason."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from hub.auth.guard import Policy, guard, member
from hub.auth.secrets import kept
from hub.auth.tokens import AUDIENCE, ISSUER, LEEWAY_S, LIFE_S, BadToken, Caller, NetworkRole, Role, Tokens
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


def test_a_new_key_signs_and_the_old_one_still_verifies(tmp_path: Path) -> None:
    old = Tokens.open(tmp_path).sign(ADA)
    Tokens.open(tmp_path / "other")
    (tmp_path / "keys" / "token-2.pem").write_bytes((tmp_path / "other" / "keys" / "token-1.pem").read_bytes())
    both = Tokens.open(tmp_path)
    assert both.read(old) == ADA
    assert jwt.get_unverified_header(both.sign(ADA))["kid"] != jwt.get_unverified_header(old)["kid"]


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
