"""`harmattan-hub` as a person types it: what it prints, what it refuses, and with which exit code."""

import io
import json
import os
import pty
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from hub import cli
from hub.auth.tokens import Caller, Role, Tokens
from hub.fleet import broker


def surroundings(folder: Path, **settings: str) -> dict[str, str]:
    """The environment of a command: DATA_DIR in a folder, and no other setting of the hub than those given."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
    return kept | {"DATA_DIR": str(folder / "data")} | settings


def hub(folder: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """Runs the console script's function in this process: a new interpreter costs a second of imports each time."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        for name in set(os.environ):
            patch.delenv(name)
        for name, value in surroundings(folder, **settings).items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", ["harmattan-hub", *words])
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


@pytest.mark.parametrize("words", [["user", "add", "ada"], ["user", "list"]])
def test_a_command_of_a_later_version_says_so(tmp_path: Path, words: list[str]) -> None:
    assert f"{words[0]}: not in this version" in said(hub(tmp_path, *words), 2)
    shown = hub(tmp_path, words[0], "--help")
    assert (shown.returncode, "Not in this version" in shown.stdout) == (0, True)


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
