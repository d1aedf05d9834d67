"""`harmattan-hub` as a person types it: what it prints, what it refuses, and with which exit code."""

import io
import json
import os
import pty
import re
import sqlite3
import subprocess
import sys
from contextlib import closing, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from hub import cli
from hub.auth.passwords import Hasher
from hub.auth.tokens import Caller, Role, Tokens
from hub.fleet import broker


def surroundings(folder: Path, **settings: str) -> dict[str, str]:
    """The environment of a command: DATA_DIR in a folder, and no other setting of the hub than those given."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return kept | {"DATA_DIR": str(folder / "data")} | settings


def hub(folder: Path, *words: str, typed: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs the console script's function in this process: a new interpreter costs a second of imports each time."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in set(os.environ):
            patch.delenv(name)
        for name, value in surroundings(folder, **settings).items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["harmattan-hub", *words])
        patch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return subprocess.CompletedProcess(words, int(ended.value.code or 0), out.getvalue(), err.getvalue())


def said(found: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line on stderr."""
    assert (found.returncode, found.stderr.count("\n")) == (code, 1), found.stderr
    assert found.stderr.startswith("harmattan-hub: ")
    return found.stderr.strip()


def test_the_command_is_a_process_of_its_own_too(tmp_path: Path) -> None:
    """What the other tests call in this process, once as the shell does: exit code and one line on stderr."""
    command = [sys.executable, "-m", "hub", "run"]
    found = subprocess.run(
        command, env=surroundings(tmp_path, JWT_SECRET="x"), capture_output=True, text=True, timeout=60, check=False
    )
    assert "JWT_SECRET" in said(found, 2)
    assert not found.stdout


def test_a_token_for_a_day_is_one_that_the_hub_reads(tmp_path: Path) -> None:
    found = hub(tmp_path, "token", "--role", "admin", "--for", "24h", "--name", "ada")
    assert found.returncode == 0, found.stderr
    assert Tokens.open(tmp_path / "data").read(found.stdout.strip()) == Caller("ada", Role.ADMIN)
    assert "is no span of time" in said(hub(tmp_path, "token", "--role", "admin", "--for", "soon"), 2)


def test_a_gateway_is_invited_listed_and_revoked(tmp_path: Path) -> None:
    assert hub(tmp_path, "broker", str(tmp_path / "data" / "broker")).returncode == 0
    line = hub(tmp_path, "gateway", "enrol", "unilag-01", PUBLIC_URL="https://hub.example.org/").stdout
    assert line.count("\n") == 1
    words = line.split()
    assert words[:3] == ["harmattan-edge", "enrol", "https://hub.example.org"]
    assert len(words[3]) == 48
    told = json.loads(hub(tmp_path, "gateway", "enrol", "unilag-02", "--json", "--visibility", "private").stdout)
    assert (told["gateway"], told["url"]) == ("unilag-02", "http://127.0.0.1:8000")
    assert told["command"] == f"harmattan-edge enrol {told['url']} {told['token']}"
    assert hub(tmp_path, "gateway", "revoke", "unilag-02").returncode == 0
    listed = json.loads(hub(tmp_path, "gateway", "list", "--json").stdout)
    assert [(one["name"], one["state"]) for one in listed] == [("unilag-01", "invited"), ("unilag-02", "revoked")]
    assert "unilag-01" in hub(tmp_path, "gateway", "list").stdout


def test_a_name_or_a_visibility_that_is_none_is_refused_in_one_line(tmp_path: Path) -> None:
    assert "is no name for a gateway" in said(hub(tmp_path, "gateway", "enrol", "Lagos"), 1)
    assert "use one of public, coarse, private" in said(hub(tmp_path, "gateway", "enrol", "unilag-01", "--visibility", "x"), 1)
    assert "there is no gateway of this name" in said(hub(tmp_path, "gateway", "revoke", "unilag-01"), 1)


def test_on_a_terminal_the_invitation_is_a_qr_code_too(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-m", "hub", "gateway", "enrol", "unilag-01"]
    child = subprocess.Popen(command, env=environment, stdout=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(ours)
    assert child.wait(30) == 0
    text = shown.decode()
    assert text.startswith("harmattan-edge enrol http://127.0.0.1:8000 ")
    assert text.count("\u2588") > 100


def test_the_broker_folder_is_written_twice_and_the_viewer_told_once(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    first = json.loads(hub(tmp_path, "broker", str(folder), "--port", "18830", "--json").stdout)
    assert first["mqtt"] == "mqtt://127.0.0.1:18830"
    assert first["viewer"]
    kept = broker.kept_account(tmp_path / "data")
    assert kept is not None
    assert (kept.url, kept.user) == ("mqtt://127.0.0.1:18830", "hub")
    again = hub(tmp_path, "broker", str(folder), "--port", "18831")
    assert "viewer keeps its password" in again.stdout
    assert broker.kept_account(tmp_path / "data") == broker.HubAccount("mqtt://127.0.0.1:18831", "hub", kept.password)
    assert json.loads(hub(tmp_path, "broker", str(folder), "--json", "--new-viewer").stdout)["viewer"] not in (
        None,
        first["viewer"],
    )


def test_a_person_is_added_with_a_link_listed_and_not_added_twice(tmp_path: Path) -> None:
    found = hub(tmp_path, "user", "add", "Ada@Example.org", "--role", "admin", PUBLIC_URL="https://hub.example.org")
    assert re.fullmatch(r"https://hub\.example\.org/#/reset\?token=[A-Za-z0-9_-]{43}\n", found.stdout), found.stderr
    told = json.loads(
        hub(tmp_path, "user", "add", "Ben B.", "--email", "ben@example.org", "--role", "authenticated", "--json").stdout
    )
    assert (told["id"], told["email"], told["name"], told["role"]) == (2, "ben@example.org", "Ben B.", "authenticated")
    assert told["link"].startswith("http://127.0.0.1:8000/#/reset?token=")
    assert "ada@example.org: has an account already" in said(
        hub(tmp_path, "user", "add", "ada@example.org", "--role", "admin"), 1
    )
    listed = json.loads(hub(tmp_path, "user", "list", "--json").stdout)
    assert [(one["id"], one["name"], one["email"], one["role"]) for one in listed] == [
        (1, "Ada", "ada@example.org", "admin"),
        (2, "Ben B.", "ben@example.org", "authenticated"),
    ]
    table = hub(tmp_path, "user", "list").stdout
    assert [line.split()[:3] for line in table.splitlines()] == [
        ["1", "ada@example.org", "admin"],
        ["2", "ben@example.org", "authenticated"],
    ]
    assert [entry[:2] for entry in entries(tmp_path)] == [("account.add", "account:1"), ("account.add", "account:2")]
    assert told["link"].partition("=")[2] not in str(entries(tmp_path))


def test_a_password_may_come_by_standard_input_and_has_to_be_a_good_one(tmp_path: Path) -> None:
    words = ("user", "add", "ada@example.org", "--role", "admin", "--password-stdin")
    assert "password: it has 5 characters" in said(hub(tmp_path, *words, typed="short\n"), 1)
    assert "password: it is too easily guessed" in said(hub(tmp_path, *words, typed="password1234\n"), 1)
    found = hub(tmp_path, *words, typed="dust over nine bridges\n")
    assert (found.returncode, found.stdout) == (0, "ada@example.org: added as admin\n"), found.stderr
    with closing(sqlite3.connect(tmp_path / "data" / "hub.db")) as connection:
        (hashed,) = connection.execute("SELECT password FROM account").fetchone()
    assert Hasher().verify(hashed, "dust over nine bridges")
    assert "dust" not in str(entries(tmp_path))


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["ada", "--role", "admin"], "ada: it needs an address"),
        (["ada@", "--role", "admin"], "ada@: it is no e-mail address"),
        (["ada", "--email", "x", "--role", "admin"], "x: it is no e-mail address"),
        (["a\nb", "--email", "a@example.org", "--role", "admin"], "is no name"),
    ],
)
def test_a_person_without_a_name_or_an_address_is_refused(tmp_path: Path, words: list[str], why: str) -> None:
    assert why in said(hub(tmp_path, "user", "add", *words), 2)


def test_signing_keys_are_added_listed_and_removed(tmp_path: Path) -> None:
    (first,) = json.loads(hub(tmp_path, "keys", "list", "--json").stdout)
    assert (first["file"], first["signs"]) == ("token-1.pem", True)
    assert "it is the key that signs" in said(hub(tmp_path, "keys", "remove", first["kid"]), 2)
    second = hub(tmp_path, "keys", "rotate").stdout.partition(":")[0]
    lines = hub(tmp_path, "keys", "list").stdout.splitlines()
    assert [(line.split()[0], line.split()[-1]) for line in lines] == [(first["kid"], "verifies"), (second, "signs")]
    assert hub(tmp_path, "keys", "remove", first["kid"]).returncode == 0
    assert [key["kid"] for key in json.loads(hub(tmp_path, "keys", "list", "--json").stdout)] == [second]
    assert "no key of this id" in said(hub(tmp_path, "keys", "remove", first["kid"]), 2)
    assert [entry[:2] for entry in entries(tmp_path)] == [
        ("keys.rotate", f"signing:{second}"),
        ("keys.remove", f"signing:{first['kid']}"),
    ]


def test_the_audit_log_is_verified_and_a_touched_one_is_found(tmp_path: Path) -> None:
    assert hub(tmp_path, "audit", "verify").stdout == f"0 entries, whole; head {'0' * 64}\n"
    for _ in range(3):
        hub(tmp_path, "token", "--role", "admin")
    whole = hub(tmp_path, "audit", "verify")
    assert (whole.returncode, whole.stdout[:23]) == (0, "3 entries, whole; head ")
    head = whole.stdout.split()[-1]
    assert hub(tmp_path, "audit", "verify", "--head", head.upper()).returncode == 0
    assert "is not in the chain" in said(hub(tmp_path, "audit", "verify", "--head", "f" * 64), 1)
    assert "64 characters" in said(hub(tmp_path, "audit", "verify", "--head", "12"), 2)
    with closing(sqlite3.connect(tmp_path / "data" / "hub.db")) as connection, connection:
        connection.executescript("DROP TRIGGER audit_update; UPDATE audit SET actor = 'ada' WHERE id = 2")
    assert "entry 2 was changed" in said(hub(tmp_path, "audit", "verify"), 1)


def test_what_a_command_changes_is_in_the_audit_log(tmp_path: Path) -> None:
    hub(tmp_path, "broker", str(tmp_path / "data" / "broker"))
    token = hub(tmp_path, "gateway", "enrol", "unilag-01").stdout.split()[-1]
    hub(tmp_path, "gateway", "revoke", "unilag-01")
    bearer = hub(tmp_path, "token", "--role", "admin", "--name", "ada").stdout.strip()
    assert entries(tmp_path) == [
        ("gateway.invite", "gateway:unilag-01", "shell", 1, "{}"),
        ("gateway.revoke", "gateway:unilag-01", "shell", 1, "{}"),
        ("token.add", "token:ada", "shell", None, '{"role":"admin","life_s":900}'),
    ]
    assert not {token, bearer} & set(str(entries(tmp_path)).split("'"))


def entries(folder: Path) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(folder / "data" / "hub.db")) as connection:
        return connection.execute("SELECT action, object, actor, network, detail FROM audit ORDER BY id").fetchall()


def test_help_lists_every_command(tmp_path: Path) -> None:
    shown = hub(tmp_path, "--help").stdout
    for name in (
        "run",
        "check",
        "migrate",
        "openapi",
        "broker",
        "rebuild",
        "token",
        "gateway",
        "backup",
        "restore",
        "import",
        "user",
        "keys",
        "audit",
    ):
        assert f"\n  {name} " in shown
    assert hub(tmp_path, "--version").stdout.startswith("harmattan-hub, version ")


def test_an_unknown_command_role_or_follower_is_refused(tmp_path: Path) -> None:
    assert hub(tmp_path, "fly").returncode == 2
    assert "roles are api, bridge, follower, poller, worker" in said(hub(tmp_path, "run", "dj"), 2)
    assert "rebuild one of: samples, latest, telemetry" in said(hub(tmp_path, "rebuild", "history"), 2)


def test_the_openapi_document_is_printed(tmp_path: Path) -> None:
    made = json.loads(hub(tmp_path, "openapi").stdout)
    assert made["openapi"].startswith("3.1")
    assert made["paths"]["/api/v1/enrol"]["post"]["x-policy"] == "one-time token"


def test_migrate_makes_the_tables_and_rebuild_needs_them(tmp_path: Path) -> None:
    assert "up to date" in hub(tmp_path, "migrate").stdout
    assert (tmp_path / "data" / "hub.db").stat().st_mode & 0o077 == 0
    assert hub(tmp_path, "rebuild", "samples").returncode == 0


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"HUB_ROLES": "api,dj"}, "HUB_ROLES"),
        ({"JWT_SECRET": "x"}, "JWT_SECRET"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL"),
        ({"HTTP_BIND": "nowhere"}, "HTTP_BIND"),
        ({"DATA_DIR": "/proc/data"}, "DATA_DIR"),
    ],
)  # fmt: skip
def test_a_wrong_setting_stops_the_hub_and_is_named(tmp_path: Path, settings: dict[str, str], named: str) -> None:
    assert named in said(hub(tmp_path, "run", **settings), 2)


def test_check_says_what_is_missing(tmp_path: Path) -> None:
    found = hub(tmp_path, "check", MQTT_URL="mqtt://127.0.0.1:9")
    assert found.returncode == 1
    assert "failed  database: " in found.stdout
    assert "failed  broker: mqtt://127.0.0.1:9: " in found.stdout
    hub(tmp_path, "migrate")
    assert "ok      database" in hub(tmp_path, "check", MQTT_URL="mqtt://127.0.0.1:9").stdout
