"""`harmattan-hub`, the hub and its fleet from a shell: words in; an exit code and, if need be, one line of why out."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any, NoReturn

import click
import msgspec

from hub.settings import ROLES, Settings, load, read_duration
from readings.errors import Stop, Trouble

if TYPE_CHECKING:
    from hub.database.engine import Database

LATER = {
    "user": "people who may log in",
}


class Usage(Stop):
    """The command line cannot be used as it was written."""


def main() -> NoReturn:
    """Runs the command; a trouble is one line on stderr, never a trace."""
    try:
        program.main(standalone_mode=False)
    except Trouble as error:
        _say(str(error))
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(1)
    sys.exit(0)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="harmattan", prog_name="harmattan-hub")
def program() -> None:
    """The hub of an air-quality network. Settings come from the environment or the file HUB_ENV_FILE names."""


@program.command()
@click.argument("roles", nargs=-1, metavar="[ROLE]...")
def run(roles: tuple[str, ...]) -> None:
    """Run the hub: all of HUB_ROLES, or the ROLEs named (api, bridge, follower, poller, worker)."""
    unknown = [role for role in roles if role not in ROLES]
    if unknown:
        raise Usage("is no role", what=", ".join(unknown), hint=f"roles are {', '.join(ROLES)}")
    from hub.roles import run as run_roles

    settings = load()
    run_roles(settings, tuple(role for role in ROLES if role in roles) if roles else settings.hub_roles)


@program.command()
def check() -> None:
    """Try the settings, the database and the broker; say what is wrong."""
    from hub.roles import check as check_roles

    troubles = 0
    for name, condition in check_roles(load()):
        click.echo(f"{'ok     ' if condition.ok else 'failed '} {name}{': ' + condition.why if condition.why else ''}")
        troubles += not condition.ok
    if troubles:
        sys.exit(1)


@program.command()
def migrate() -> None:
    """Bring the database's tables up to date."""
    from hub.database.migrate import migrate as migrate_database

    settings = load()
    migrate_database(settings.database)
    click.echo("tables are up to date")


@program.command()
def openapi() -> None:
    """Print the API document (OpenAPI 3.1, JSON)."""
    from hub.app import document

    click.echo(msgspec.json.format(msgspec.json.encode(document()), indent=2).decode())


@program.command()
@click.argument("follower")
def rebuild(follower: str) -> None:
    """Wipe what a FOLLOWER has made (samples, latest, telemetry) and make it again from the log."""
    from hub.followers.runner import rebuild as rebuild_follower

    with _database() as (_, database):
        entries = rebuild_follower(database, follower, _progress(follower) if sys.stderr.isatty() else None, pickup_s=2.0)
        click.echo(
            f"{follower}: rebuilt from {entries} entries"
            if entries
            else f"{follower}: nothing to read yet, or the running hub does it"
        )


@program.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
def backup(folder: Path) -> None:
    """Copy database, keys and broker accounts into FOLDER, which must be empty or new. The hub may run."""
    from hub.front.backup import backup as back_up

    made = back_up(load(), folder, int(time() * 1000))
    click.echo(f"{folder}: {len(made.files)} files of a {made.database} hub; keep it where only you can read it")


@program.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--force", is_flag=True, help="Also a backup older than BACKUP_MAX_AGE: gateways may have deleted what it lacks.")
def restore(folder: Path, force: bool) -> None:
    """Put the backup in FOLDER in the place of this hub's database, keys and broker accounts. The hub must not run."""
    from hub.answers import rfc3339
    from hub.front.backup import restore as put_back

    made = put_back(load(), folder, int(time() * 1000), force=force)
    click.echo(f"restored to {rfc3339(made.made_ms)}; start the hub: the gateways send again what came later")


@program.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--port", default=1883, show_default=True, type=click.IntRange(1, 65535), help="Port on 127.0.0.1.")
@click.option("--tls", nargs=2, type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="CERT KEY",
              help="Also listen on every address, with this certificate and key.")  # fmt: skip
@click.option("--tls-port", default=8883, show_default=True, type=click.IntRange(1, 65535), help="Port of --tls.")
@click.option("--new-viewer", is_flag=True, help="Give the viewer a new password.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def broker(folder: Path, port: int, tls: tuple[Path, Path] | None, tls_port: int, new_viewer: bool, as_json: bool) -> None:
    """Write a ready mosquitto configuration into FOLDER: loopback, accounts, and who may speak where."""
    from hub.fleet import broker as files

    settings = load()
    kept = files.kept_account(settings.data_dir)
    wanted = files.Tls(*tls, port=tls_port) if tls else None
    accounts = files.write(folder, port, wanted, hub_password=kept.password if kept else None, new_viewer=new_viewer)
    files.keep_account(settings.data_dir, files.HubAccount(f"mqtt://127.0.0.1:{port}", files.HUB, accounts.hub))
    conf = folder.absolute() / "mosquitto.conf"
    if as_json:
        return _json({"conf": str(conf), "mqtt": f"mqtt://127.0.0.1:{port}", "viewer": accounts.viewer})
    click.echo(f"start it with: mosquitto -c {conf}")
    click.echo(f"viewer's password, shown once: {accounts.viewer}" if accounts.viewer else "viewer keeps its password")
    return None


@program.command()
@click.option("--role", required=True, type=click.Choice(["authenticated", "admin"]), help="What the bearer may do.")
@click.option("--for", "life", default="15min", show_default=True, help="How long: 15min, 24h, 30d.")
@click.option("--name", default="shell", show_default=True, help="Who it is for.")
def token(role: str, life: str, name: str) -> None:
    """Print a token for the API (Authorization: Bearer ...)."""
    from hub.auth.tokens import Caller, Role, Tokens

    try:
        life_s = read_duration(life)
    except ValueError as error:
        raise Usage(str(error), what="--for") from error
    click.echo(Tokens.open(load().data_dir).sign(Caller(name, Role(role)), life_s=life_s))


@program.command("import")
@click.argument("kind")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--gateway", "owner", help="Whose rows these are, where the hub does not know any of their streams.")
def import_file(kind: str, file: Path, owner: str | None) -> None:
    """Bring in a FILE of a KIND: outbox (the outbox.db of a pulled card, or its raw export)."""
    if kind != "outbox":
        raise Usage("not in this version", what=f"import: {kind}", hint="there is: harmattan-hub import outbox FILE")
    from hub.ingestion.outbox import import_outbox

    def show(rows: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{file.name}: {rows} rows\x1b[K", nl=False, err=True)

    with _database() as (_, database):
        owner, done = import_outbox(database, file, owner, show)
    click.echo(f"{owner}: {done.stored} rows stored, {done.known} were here before, {done.damaged} damaged")


@program.group()
def gateway() -> None:
    """The gateways that may speak to this hub."""


@gateway.command("enrol")
@click.argument("name")
@click.option("--visibility", default="public", show_default=True, help="Of its station: public, coarse or private.")
@click.option("--for", "life", default="24h", show_default=True, help="How long the token may be used: 30min, 24h, 7d.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def gateway_enrol(name: str, visibility: str, life: str, as_json: bool) -> None:
    """Make a one-time token for the gateway NAME, and print the line to paste there."""
    from hub.fleet.enrolment import invite

    try:
        life_s = read_duration(life)
    except ValueError as error:
        raise Usage(str(error), what="--for") from error
    with _database() as (settings, database):
        made = invite(database, name, visibility=visibility, life_ms=life_s * 1000)
        url = _url(settings)
    line = f"harmattan-edge enrol {url} {made}"
    if as_json:
        from hub.answers import rfc3339

        expires = rfc3339(int((time() + life_s) * 1000))
        return _json({"gateway": name, "url": url, "token": made, "expires": expires, "command": line})
    click.echo(line)
    if sys.stdout.isatty():
        import segno

        segno.make(line, micro=False).terminal(compact=True)
    return None


@gateway.command("revoke")
@click.argument("name")
def gateway_revoke(name: str) -> None:
    """Refuse the gateway NAME from now on."""
    from hub.fleet.enrolment import revoke

    with _database() as (settings, database):
        revoke(database, name, broker_dir=settings.broker)
        click.echo(f"{name}: revoked")


@gateway.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def gateway_list(as_json: bool) -> None:
    """All gateways, their state and when they were last heard."""
    from hub.fleet.gateways import gateways

    with _database() as (_, database), database.read() as connection:
        found = gateways(connection)
    if as_json:
        return _json([msgspec.to_builtins(one) for one in found])
    for one in found:
        click.echo(f"{one.name:31}  {one.state:10}  last seen {one.last_seen or 'never'}")
    return None


def _later(name: str, what: str) -> None:
    @program.command(name, help=f"Not in this version: {what}.", context_settings={"ignore_unknown_options": True})
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def refuse(words: tuple[str, ...]) -> None:
        raise Usage("not in this version", what=name, hint="`harmattan-hub --help` lists what there is")


for _name, _what in LATER.items():
    _later(_name, _what)


@contextmanager
def _database() -> Iterator[tuple[Settings, "Database"]]:
    """The settings and the database they name, opened for one command."""
    from hub.database.current import open_current

    settings = load()
    database = open_current(settings.database)
    try:
        yield settings, database
    finally:
        database.close()


def _progress(name: str) -> Callable[[int, int], None]:
    def show(done: int, of: int) -> None:
        click.echo(f"\r{name}: {done} of {of}\x1b[K" + ("\n" if done >= of else ""), nl=False, err=True)

    return show


def _url(settings: Settings) -> str:
    """Where a gateway finds this hub."""
    if settings.public_url:
        return settings.public_url
    host, port = settings.http_bind
    return f"http://{'127.0.0.1' if host in ('0.0.0.0', '::') else host}:{port}"  # noqa: S104  # compared, not bound


def _json(document: Any) -> None:
    click.echo(msgspec.json.encode(document).decode())


def _say(line: str) -> None:
    click.echo(f"harmattan-hub: {line}", err=True)
