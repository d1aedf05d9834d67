"""What has been tried on JWTs elsewhere, tried here over real HTTP: each is a 401, none a 500, none lets anybody in.

The attacker holds a real token of an ordinary person and the hub's public key, and wants to be an admin. Where a case is signed
by the hub's own key, it asks what the hub would take from a tool, a backup or a colleague that has it.
"""

import hmac
import json
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from sqlalchemy import update

from hub.auth.tokens import AUDIENCE, ISSUER, LEEWAY_S, Caller, Role, Tokens, remove, rotate
from hub.database import tables
from tests.hub.face import Face, now_ms, open_face, problem

ADMINS = "/api/v1/users"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def packed(content: object) -> str:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return urlsafe_b64encode(raw).decode().rstrip("=")


class Attacker:
    """`mine`: a real token of an ordinary person. `header`, `claims`: of an admin's token, for forging; `key`: the hub's own."""

    def __init__(self, face: Face) -> None:
        self.face = face
        self.data_dir = face.settings.data_dir
        self.mine = face.person("eve@example.org")
        key = load_pem_private_key((self.data_dir / "keys" / "token-1.pem").read_bytes(), None)
        assert isinstance(key, Ed25519PrivateKey)
        self.key, self.public = key, key.public_key()
        self.admin = face.token()
        self.header = jwt.get_unverified_header(self.admin)
        self.claims = jwt.decode(self.admin, options={"verify_signature": False})

    def token(self, header: object, claims: object, sign: Callable[[bytes], bytes] | None = None) -> str:
        signed = f"{packed(header)}.{packed(claims)}"
        return f"{signed}.{packed((sign or self.key.sign)(signed.encode()))}"

    def ours(self, _without: str = "", /, **claims: object) -> str:
        """Signed by the hub's own key, with other claims."""
        return self.token(self.header, {name: told for name, told in (self.claims | claims).items() if name != _without})

    def headed(self, **header: object) -> str:
        """Signed by the hub's own key, under another header; None takes a member away."""
        made = {name: told for name, told in (self.header | header).items() if told is not None}
        return self.token(made, self.claims)

    def foreign(self, **header: object) -> str:
        """Signed by a key of the attacker's own."""
        return self.token(self.header | header, self.claims, Ed25519PrivateKey.generate().sign)

    def hs(self, secret: bytes, name: str = "HS256") -> str:
        return self.token(self.header | {"alg": name}, self.claims, lambda signed: hmac.digest(secret, signed, "sha256"))

    def parts(self, token: str = "") -> list[str]:
        return (token or self.admin).split(".")


def now() -> int:
    return int(time.time())


def public_pem(it: Attacker) -> bytes:
    return it.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def public_raw(it: Attacker) -> bytes:
    return it.public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def jwk(it: Attacker) -> dict[str, str]:
    return {"kty": "OKP", "crv": "Ed25519", "x": packed(public_raw(it)), "kid": it.header["kid"]}


def by_rsa(it: Attacker) -> str:
    key = rsa.generate_private_key(65537, 1024)  # noqa: S505  # an attacker's
    return it.token(it.header | {"alg": "RS256"}, it.claims, lambda signed: key.sign(signed, padding.PKCS1v15(), SHA256()))


def by_ec(it: Attacker) -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return it.token(it.header | {"alg": "ES256"}, it.claims, lambda signed: key.sign(signed, ec.ECDSA(SHA256())))


def unsigned(it: Attacker, name: str) -> str:
    return it.token(it.header | {"alg": name}, it.claims, lambda _: b"")


def loose_bits(it: Attacker) -> str:
    """The same signature in another spelling: 86 letters carry 516 bits, the last four count for nothing."""
    *before, signature = it.parts()
    return ".".join((*before, signature[:-1] + ALPHABET[ALPHABET.index(signature[-1]) ^ 1]))


def other_alphabet(it: Attacker) -> str:
    """A good token whose signature is written with + and / in the place of - and _."""
    good = next(token for number in range(99) if "_" in it.parts(token := it.ours(jti=str(number)))[2])
    assert asked(it, good).status_code == 200
    *before, signature = it.parts(good)
    return ".".join((*before, signature.replace("_", "/").replace("-", "+")))


def of_an_ended_session(it: Attacker) -> str:
    token = it.face.person(f"{time.time_ns()}@example.org", role=Role.ADMIN)
    assert it.face.get(ADMINS, token).status_code == 200
    sid = jwt.decode(token, options={"verify_signature": False})["sid"]
    with it.face.database.write() as connection:
        connection.execute(update(tables.session).where(tables.session.c.id == sid).values(ended_ms=now_ms()))
    it.face.app.state.callers.forget()
    return token


def of_a_removed_key(it: Attacker) -> str:
    folder = it.data_dir.parent / f"old-{time.time_ns()}"
    tokens = Tokens.open(folder)
    token = tokens.sign(Caller("ada", Role.ADMIN))
    # The hub had this key once: the same file among its own, then another above it, then taken away.
    mine, theirs = it.data_dir / "keys" / "token-0.pem", folder / "keys" / "token-1.pem"
    mine.write_bytes(theirs.read_bytes())
    assert it.face.get(ADMINS, token).status_code == 200
    rotate(folder)
    remove(it.data_dir, jwt.get_unverified_header(token)["kid"])
    it.face.app.state.tokens._look(now=True)
    it.face.app.state.callers.forget()
    return token


def refresh_token(it: Attacker) -> str:
    """Of the right length and letters; a real one is no more a token than this."""
    return packed(sha256(it.mine.encode()).digest())


def api_key(it: Attacker) -> str:
    made = it.face.http.post(
        "/api/v1/auth/keys", json={"name": "k", "scopes": ["write"]}, headers={"Authorization": f"Bearer {it.mine}"}
    )
    return str(made.json()["key"])


ATTACKS: dict[str, Callable[[Attacker], str]] = {
    "alg none": lambda it: unsigned(it, "none"),
    "alg None": lambda it: unsigned(it, "None"),
    "alg NONE": lambda it: unsigned(it, "NONE"),
    "alg nOnE": lambda it: unsigned(it, "nOnE"),
    "alg empty": lambda it: unsigned(it, ""),
    "alg missing": lambda it: it.headed(alg=None),
    "alg a list": lambda it: it.headed(alg=["EdDSA"]),
    "alg none with the signature of a real token": lambda it: ".".join(
        (packed(it.header | {"alg": "none"}), packed(it.claims), it.parts()[2])
    ),
    "HS256 with the public key's PEM": lambda it: it.hs(public_pem(it)),
    "HS256 with the public key's PEM, without its last line's end": lambda it: it.hs(public_pem(it).strip()),
    "HS256 with the public key's bytes": lambda it: it.hs(public_raw(it)),
    "HS256 with the public key in base64": lambda it: it.hs(packed(public_raw(it)).encode()),
    "HS256 with an empty secret": lambda it: it.hs(b""),
    "HS256 called EdDSA": lambda it: it.hs(public_pem(it), "EdDSA"),
    "RS256": by_rsa,
    "ES256": by_ec,
    "EdDSA by another key": lambda it: it.foreign(),
    "kid unknown": lambda it: it.foreign(kid="0123456789abcdef"),
    "kid missing": lambda it: it.headed(kid=None),
    "kid null": lambda it: it.token(it.header | {"kid": None}, it.claims),
    "kid a list": lambda it: it.headed(kid=[it.header["kid"]]),
    "kid an object": lambda it: it.headed(kid={"kid": it.header["kid"]}),
    "kid empty": lambda it: it.headed(kid=""),
    "kid a path": lambda it: it.token(
        it.header | {"kid": "../../../../dev/null", "alg": "HS256"}, it.claims, lambda signed: hmac.digest(b"", signed, "sha256")
    ),
    "kid a path to the key": lambda it: it.headed(kid="../keys/token-1.pem"),
    "kid with SQL": lambda it: it.foreign(kid="x' UNION SELECT 'key'; --"),
    "kid with NUL": lambda it: it.headed(kid=it.header["kid"] + "\0"),
    "kid a shell's words": lambda it: it.foreign(kid="|/usr/bin/id"),
    "jwk in the header": lambda it: it.headed(jwk=jwk(it)),
    "jku in the header": lambda it: it.headed(jku=f"{it.face.url}/keys.json"),
    "x5u in the header": lambda it: it.headed(x5u=f"{it.face.url}/chain.pem"),
    "x5c in the header": lambda it: it.headed(x5c=[packed(public_raw(it))]),
    "crit that nobody knows": lambda it: it.headed(crit=["exp"], exp=now()),
    "crit b64": lambda it: it.headed(crit=["b64"], b64=False),
    "zip": lambda it: it.headed(zip="DEF"),
    "typ JWT": lambda it: it.headed(typ="JWT"),
    "typ missing": lambda it: it.headed(typ=None),
    "typ of an ID token": lambda it: it.headed(typ="id_token+jwt"),
    "a JWE around it": lambda it: ".".join(
        (packed({"alg": "dir", "enc": "A256GCM", "cty": "JWT"}), "", "AAAA", it.admin[:40], "AAAA")
    ),
    "a nested token": lambda it: it.token(it.header | {"cty": "JWT"}, it.admin.encode()),
    "expired": lambda it: it.ours(iat=now() - 1000, exp=now() - LEEWAY_S - 1),
    "exp as text": lambda it: it.ours(exp="soon"),
    "exp without an end": lambda it: it.ours(exp=float("inf")),
    "exp null": lambda it: it.ours(exp=None),
    "nbf in the future": lambda it: it.ours(nbf=now() + 600),
    "iat in the future": lambda it: it.ours(iat=now() + 600, exp=now() + 1200),
    "another audience": lambda it: it.ours(aud="another-api"),
    "ours among several audiences": lambda it: it.ours(aud=[AUDIENCE, "another-api"]),
    "another issuer": lambda it: it.ours(iss="https://evil.example"),
    "an issuer that begins like ours": lambda it: it.ours(iss=ISSUER + ".evil.example"),
    **{
        f"without {name}": (lambda gone: lambda it: it.ours(gone))(name)
        for name in ("iss", "aud", "sub", "role", "jti", "iat", "exp")
    },
    "sub a number": lambda it: it.ours(sub=1),
    "sub an object": lambda it: it.ours(sub={"id": 1}),
    "role root": lambda it: it.ours(role="root"),
    "role a list": lambda it: it.ours(role=["admin"]),
    "networks all": lambda it: it.ours(net="all"),
    "a session that is nobody's": lambda it: it.ours(sid="0" * 32, sub="1"),
    "a session of somebody without a number": lambda it: it.ours(sid="0" * 32, sub="x"),
    "a session that is a list": lambda it: it.ours(sid=["0" * 32], sub="1"),
    "signature taken away": lambda it: ".".join((*it.parts()[:2], "")),
    "signature and its dot taken away": lambda it: ".".join(it.parts()[:2]),
    "signature of zeros": lambda it: ".".join((*it.parts()[:2], packed(bytes(64)))),
    "signature of another token": lambda it: ".".join((*it.parts()[:2], it.parts(it.mine)[2])),
    "payload changed": lambda it: ".".join(
        (
            it.parts(it.mine)[0],
            packed(jwt.decode(it.mine, options={"verify_signature": False}) | {"sub": "1"}),
            it.parts(it.mine)[2],
        )
    ),
    "alg twice": lambda it: it.token(
        b'{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"%s"}' % it.header["kid"].encode(), it.claims
    ),
    "claims twice, unsigned": lambda it: ".".join(
        (it.parts()[0], packed(b'{"role":"authenticated","role":"admin","sub":"1"}'), it.parts()[2])
    ),
    "64 KiB": lambda it: it.ours(pad="x" * 65536),
    "10,000 dots": lambda it: "." * 10_000,
    "a header 2,000 deep": lambda it: f"{packed(b'[' * 2000)}.{it.parts()[1]}.{it.parts()[2]}",
    "a header that is a number": lambda it: it.token(b"1e999", it.claims),
    "a header that is no JSON": lambda it: it.token(b"\xff\xfe{", it.claims),
    "a payload that is no JSON": lambda it: it.token(it.header, b"not json"),
    "a payload that is a list": lambda it: it.token(it.header, ["admin"]),
    "base64 with padding": lambda it: it.admin + "=",
    "base64 padded inside": lambda it: ".".join(part + "=" * (-len(part) % 4) for part in it.parts()),
    "base64 with loose bits": loose_bits,
    "base64 with letters left out": lambda it: it.admin[:-4] + "!" + it.admin[-4:],
    "base64 of the other alphabet": other_alphabet,
    "a fourth part": lambda it: it.admin + "." + it.parts()[2],
    "a refresh token": refresh_token,
    "an API key": api_key,
    "of an ended session": of_an_ended_session,
    "of a removed key": of_a_removed_key,
}


@pytest.fixture(scope="module")
def it(migrated: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacker]:
    folder = tmp_path_factory.mktemp("attacked") / "data"
    folder.mkdir()
    with open_face(migrated, folder) as face:
        yield Attacker(face)


def asked(it: Attacker, token: str) -> httpx2.Response:
    return it.face.http.get(ADMINS, headers={b"Authorization": b"Bearer " + token.encode()})


def test_the_real_token_works_and_so_does_what_the_forger_makes_when_nothing_is_wrong(it: Attacker) -> None:
    assert asked(it, it.admin).status_code == 200
    assert asked(it, it.ours()).status_code == 200
    assert asked(it, it.headed()).status_code == 200
    problem(asked(it, it.mine), 403, "forbidden")


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused(it: Attacker, attack: str) -> None:
    answer = asked(it, ATTACKS[attack](it))
    problem(answer, 401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_a_false_token_is_refused_where_nobody_needs_one_too(it: Attacker) -> None:
    assert it.face.get("/api/v1/stations").status_code == 200
    problem(it.face.get("/api/v1/stations", it.foreign()), 401, "unauthorized")


def test_a_token_in_the_query_or_in_a_cookie_is_not_looked_at(it: Attacker) -> None:
    problem(it.face.get(ADMINS, params={"access_token": it.admin, "token": it.admin}), 401, "unauthorized")
    cookies = f"harmattan_refresh={it.admin}; access_token={it.admin}; Authorization=Bearer {it.admin}"
    problem(it.face.get(ADMINS, headers={"Cookie": cookies}), 401, "unauthorized")


@pytest.mark.parametrize("scheme", ["", "Basic ", "Token ", "JWT ", "bearer\t", "Bearer"])
def test_another_scheme_is_refused(it: Attacker, scheme: str) -> None:
    problem(it.face.get(ADMINS, headers={"Authorization": scheme + it.admin}), 401, "unauthorized")


def test_two_credentials_at_once_are_refused(it: Attacker) -> None:
    headers = {"Authorization": f"Bearer {it.admin}", "X-API-Key": "0" * 64}
    problem(it.face.get(ADMINS, headers=headers), 401, "unauthorized")
    twice = it.face.http.get(ADMINS, headers=[("Authorization", f"Bearer {it.mine}"), ("Authorization", f"Bearer {it.admin}")])
    assert twice.status_code in (401, 403)  # whichever is taken, the second adds nothing
