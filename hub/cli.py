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


class Usage(Stop):
    """The command line cannot be used as it was written."""


class Refused(Stop):
    """The command was understood, and the answer is no."""

    exit_code = 1


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
    from hub.audit import record
    from hub.auth.tokens import Caller, Role, Tokens

    try:
        life_s = read_duration(life)
    except ValueError as error:
        raise Usage(str(error), what="--for") from error
    with _database() as (settings, database):
        made = Tokens.open(settings.data_dir).sign(Caller(name, Role(role)), life_s=life_s)
        with database.write() as connection:
            record(connection, "shell", "token.add", f"token:{name}", role=role, life_s=life_s)
    click.echo(made)


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
@click.option("--visibility", help="Of its station: public, coarse or private; as is usual in its network unless told.")
@click.option("--for", "life", default="24h", show_default=True, help="How long the token may be used: 30min, 24h, 7d.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def gateway_enrol(name: str, visibility: str | None, life: str, as_json: bool) -> None:
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


@program.group()
def user() -> None:
    """The people who may sign in."""


@user.command("add")
@click.argument("name")
@click.option("--role", required=True, type=click.Choice(["authenticated", "admin"]), help="What they may do in the whole hub.")
@click.option("--email", help="Their address, with which they sign in; not needed where NAME is one.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input, one line, instead of a link.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def user_add(name: str, role: str, email: str | None, password_stdin: bool, as_json: bool) -> None:
    """Make an account for NAME, and print the link with which they choose a password, once, within 48 hours."""
    from hub.auth.accounts import normalised

    if email is None and "@" not in name:
        raise Usage("it needs an address", what=name, hint=f"write: harmattan-hub user add {name} --email ADDRESS --role {role}")
    called = name.partition("@")[0] if email is None else name
    if not called.isprintable() or not 0 < len(called.strip()) <= 100:
        raise Usage("is no name of 1 to 100 characters", what=repr(called), hint="give their address with --email")
    try:
        address = normalised(email or name)
    except ValueError as error:
        raise Usage(str(error), what=email or name) from error
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else None
    with _database() as (settings, database):
        made = _account(settings, database, address, called.strip(), role, password)
    if as_json:
        return _json(made)
    click.echo(f"{address}: added as {role}" if password_stdin else made["link"])
    return None


def _account(
    settings: Settings, database: "Database", address: str, name: str, role: str, password: str | None
) -> dict[str, object]:
    """Makes it, with an entry in the audit log; without a password the answer has a link."""
    from sqlalchemy.exc import IntegrityError

    from hub.answers import rfc3339
    from hub.audit import record
    from hub.auth import accounts, onetime
    from hub.auth.tokens import Role

    now_ms = int(time() * 1000)
    hashed = None if password is None else _hashed(settings, password, address, name)
    made: dict[str, object] = {"email": address, "name": name, "role": role}
    try:
        with database.write() as connection:
            made["id"] = number = accounts.add(connection, address, name, Role(role), hashed, now_ms)
            if password is None:
                token = onetime.give(connection, onetime.Purpose.HANDED, number, address, now_ms)
                expires = rfc3339(now_ms + onetime.LIVES_MS[onetime.Purpose.HANDED])
                made |= {"link": f"{_url(settings)}/#/reset?token={token}", "expires": expires}
            record(connection, "shell", "account.add", f"account:{number}", role=role)
    except IntegrityError as error:
        raise Refused("has an account already", what=address, hint="`harmattan-hub user list` shows all") from error
    return made


def _hashed(settings: Settings, password: str, *about: str) -> str:
    """As a person's own choice is: a weak one is refused here too."""
    from hub.auth.passwords import Hasher
    from hub.auth.weakness import LONGEST, SHORTEST, weakness

    if not SHORTEST <= len(password) <= LONGEST:
        raise Refused(f"it has {len(password)} characters", what="password", hint=f"use {SHORTEST} to {LONGEST}")
    if why := weakness(password, about=about, data_dir=settings.data_dir):
        raise Refused(why, what="password")
    return Hasher().hash(password)


@user.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def user_list(as_json: bool) -> None:
    """Everybody with an account, and when they were last there."""
    from hub.auth.accounts import users

    with _database() as (_, database), database.read() as connection:
        found, page = [], users(connection, limit=1000)
        while page:
            found += page
            page = users(connection, after=page[-1].id, limit=1000)
    if as_json:
        return _json([msgspec.to_builtins(one) for one in found])
    for one in found:
        state = "disabled" if one.disabled else "totp" if one.totp else "password"
        click.echo(f"{one.id:6}  {one.email:40}  {one.role:13}  {state:8}  last seen {one.seen or 'never'}")
    return None


@program.group("keys")
def signing() -> None:
    """The keys that sign tokens. The highest number signs; the others still verify what they signed."""


@signing.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def keys_list(as_json: bool) -> None:
    """All keys, the one that signs last."""
    from hub.answers import rfc3339
    from hub.auth.tokens import Tokens, keys_in

    folder = load().data_dir
    Tokens.open(folder)
    found = keys_in(folder / "keys")
    told = [
        {"kid": key.kid, "file": f"token-{key.number}.pem", "made": rfc3339(key.made_ms), "signs": key is found[-1]}
        for key in found
    ]
    if as_json:
        return _json(told)
    for one in told:
        click.echo(f"{one['kid']}  {one['file']:14}  made {one['made']}  {'signs' if one['signs'] else 'verifies'}")
    return None


@signing.command("rotate")
def keys_rotate() -> None:
    """Add a key, which signs from now on. A running hub takes it up within seconds; nobody is signed out."""
    from hub.audit import record
    from hub.auth.tokens import rotate

    with _database() as (settings, database):
        made = rotate(settings.data_dir)
        with database.write() as connection:
            record(connection, "shell", "keys.rotate", f"signing:{made.kid}")
    click.echo(f"{made.kid}: signs from now on; older keys verify until `harmattan-hub keys remove KID`")


@signing.command("remove")
@click.argument("kid")
def keys_remove(kid: str) -> None:
    """Take the key KID away: whatever it signed is refused from then on. A session's token lasts 15 min."""
    from hub.audit import record
    from hub.auth.tokens import remove

    with _database() as (settings, database):
        remove(settings.data_dir, kid)
        with database.write() as connection:
            record(connection, "shell", "keys.remove", f"signing:{kid}")
    click.echo(f"{kid}: removed")


@program.group("audit")
def audit_log() -> None:
    """Who did what: a chain of entries that shows whether it was touched."""


@audit_log.command("verify")
@click.option(
    "--head", metavar="HEX", help="A head that the hub's log told (audit head id=.. hash=HEX): it must be in the chain."
)
def audit_verify(head: str | None) -> None:
    """Go through the whole audit log. Exit code 1 when an entry was changed, removed or put in."""
    from hub.audit import verify

    wanted = None if head is None else head.strip().lower()
    if wanted is not None and (len(wanted) != 64 or not set(wanted) <= set("0123456789abcdef")):
        raise Usage("a head has 64 characters of 0-9 and a-f", what="--head")
    with _database() as (_, database), database.read() as connection:
        found = verify(connection, seen=wanted)
    if found.broken_at is not None:
        hint = f"{found.entries} entries before it are whole, up to {found.head}"
        raise Refused(found.why, what="audit log", hint=hint)
    click.echo(f"{found.entries} entries, whole; head {found.head}")


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
