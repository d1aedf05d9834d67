"""harmattan-edge: words typed at a gateway in; a daemon, an answer, or one line that says what to do next, out.

Everything heavy is imported by the command that needs it: `status` on a Raspberry Pi is to answer at once.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

from readings.errors import Stop, Trouble

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from adapters.catalogue import Catalogue
    from edge.export import Exported
    from edge.report import Document

PROGRAM = "harmattan-edge"
DEFAULT_CONFIG = Path("/etc/harmattan/gateway.yaml")
NOT_YET_HINT = "harmattan-edge --help lists what this version does"
F = TypeVar("F", bound=Callable[..., Any])
FILE = click.Path(path_type=Path)


def main(arguments: list[str] | None = None) -> None:
    """The console script. Errors are one line on stderr: `harmattan-edge: <what>: <why>; <what to do>`."""
    sys.exit(run_command(arguments))


def run_command(arguments: list[str] | None = None) -> int:
    try:
        with harmattan_edge.make_context(PROGRAM, sys.argv[1:] if arguments is None else list(arguments)) as context:
            ended = harmattan_edge.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as done:  # --help, --version
        return done.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else PROGRAM
        name = path.removeprefix(PROGRAM).strip()
        why = " ".join(error.format_message().replace(". Did you", ", did you").rstrip(".?").split())
        complain(f"{f'{name}: ' if name else ''}{why}; see {path} --help")
        return 2
    except KeyboardInterrupt:
        return 130
    except Trouble as error:
        if isinstance(error.__cause__, BrokenPipeError):
            return _seen_enough()
        complain(*getattr(error, "lines", [str(error)]))
        return error.exit_code
    except BrokenPipeError:
        return _seen_enough()
    return ended if isinstance(ended, int) else 0


def _seen_enough() -> int:
    """`| head` closed the pipe: no error, and nothing more to flush at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def complain(*lines: str) -> None:
    for line in lines:
        click.echo(f"{PROGRAM}: {line}", err=True)


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        click.echo(f"{PROGRAM} {version()}")
        context.exit()


def version() -> str:
    from importlib.metadata import version as of

    return of("harmattan")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Show the version.")
def harmattan_edge() -> None:
    """The gateway of an air-quality network: reads sensors, keeps every reading, sends it to the hub."""


def placed(command: F) -> F:
    """Where the daemon or its outbox is found."""
    for option in (
        click.option("--store", type=FILE, help="Read this outbox file."),
        click.option("--socket", type=FILE, help="Ask the daemon at this control socket."),
        click.option("--config", type=FILE, help=f"The gateway's configuration [default: {DEFAULT_CONFIG}]."),
    ):
        command = option(command)
    return command


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
profiles_option = click.option(
    "--profiles", "folders", type=FILE, multiple=True, help="A folder with more profiles; may be given several times."
)


@harmattan_edge.command()
@click.argument("config", type=FILE, default=DEFAULT_CONFIG)
def run(config: Path) -> int:
    """Run the daemon with CONFIG [default: /etc/harmattan/gateway.yaml]."""
    from edge.config import load, load_credential
    from edge.daemon import Daemon

    _log_to_stderr()
    settings = load(config)
    credential = load_credential(settings.hub.credential, settings.gateway) if settings.hub else None
    return Daemon(settings, credential, version=version()).run()


def _log_to_stderr() -> None:
    import logging

    level = os.environ.get("LOG_LEVEL", "info").upper()
    names = logging.getLevelNamesMapping()
    if level not in names:
        raise Stop(f"{level.lower()} is no level", what="LOG_LEVEL", hint=f"allowed are {', '.join(n.lower() for n in names)}")
    for name in list(names):
        logging.addLevelName(names[name], name.lower())
    form = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s"
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter(form, "%Y-%m-%dT%H:%M:%S"))
    handler.formatter.converter = _gmtime  # type: ignore[union-attr]  # set one line above
    logging.basicConfig(level=names[level], handlers=[handler])


def _gmtime(seconds: float | None) -> Any:
    import time

    return time.gmtime(seconds)


@harmattan_edge.command()
@click.argument("config", type=FILE, default=DEFAULT_CONFIG)
def check(config: Path) -> None:
    """Say everything that is wrong with CONFIG in one run: file, line, key, what is allowed."""
    from edge.config import load, load_credential

    settings = load(config)
    credential = load_credential(settings.hub.credential, settings.gateway) if settings.hub else None
    click.echo(f"{config}: ok: gateway {settings.gateway}, {_count(len(settings.sensors), 'sensor')}")
    if settings.hub and credential is None:
        click.echo(
            f"{settings.hub.credential}: not there yet; until then readings stay on the card: {PROGRAM} enrol HUB_URL TOKEN"
        )


@harmattan_edge.command()
@placed
@json_option
def status(config: Path | None, socket: Path | None, store: Path | None, as_json: bool) -> int:
    """Say how the gateway is: each sensor, the outbox, the link to the hub. Exit 1 when somebody has something to do."""
    from edge import report

    document = _document(Places.of(config, socket, store))
    if as_json:
        _print_json(report.contract(document))
    else:
        for line in report.table(document, width=_width()):
            click.echo(line)
    return 0 if report.is_well(document) else 1


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 200


class Places:
    """Where to ask: the control socket first, the outbox file when nobody answers there. None: not to be asked."""

    def __init__(self, control: Path | None, store: Path | None, gateway: str = "unknown", has_hub: bool = True) -> None:
        self.control, self.store, self.gateway, self.has_hub = control, store, gateway, has_hub

    @classmethod
    def of(cls, config: Path | None, socket: Path | None, store: Path | None) -> "Places":
        """`--socket` or `--store` alone need no configuration; with one they take the place of what it says."""
        if config is None and (socket or store):
            return cls(socket, store)
        from edge.config import whereabouts

        found = whereabouts(config or DEFAULT_CONFIG)
        return cls(socket or found.control, store or found.store, found.gateway, found.has_hub)

    def nothing(self) -> Stop:
        tried = [f"no daemon answers at {self.control}"] if self.control else []
        tried += [f"there is no outbox at {self.store}"] if self.store else []
        return Stop(" and ".join(tried), hint="start the daemon, or say where it is: --config, --socket, --store")


def _document(places: Places) -> "Document":
    from edge.control import NotRunning, ask

    if places.control is not None:
        try:
            return next(ask(places.control, {"ask": "status"}))
        except StopIteration:
            raise Stop(
                "it closed without an answer", what=f"control socket {places.control}", hint="see the daemon's log"
            ) from None
        except NotRunning:
            pass
    if places.store is None or not places.store.is_file():
        raise places.nothing()
    from edge.report import from_outbox

    return from_outbox(places.store, gateway=places.gateway, has_hub=places.has_hub)


@harmattan_edge.command()
@click.argument("sensor", required=False)
@click.option("-n", "count", default=10, type=click.IntRange(0), help="Begin with the last N samples [default: 10].")
@click.option("--follow/--no-follow", default=True, help="Go on with those that come [default: follow].")
@placed
@json_option
def tail(
    sensor: str | None, count: int, follow: bool, config: Path | None, socket: Path | None, store: Path | None, as_json: bool
) -> None:
    """Show the last samples, of one SENSOR or of all, and go on with those that come."""
    from edge.control import NotRunning, ask

    places = Places.of(config, socket, store)
    if places.control is not None:
        try:
            for line in ask(places.control, {"ask": "tail", "sensor": sensor, "n": count, "follow": follow}):
                _print_sample(line, as_json)
            return
        except NotRunning:
            pass
        except KeyboardInterrupt:
            return
    if places.store is None or not places.store.is_file():
        raise places.nothing()
    from edge.report import last

    for line in last(places.store, sensor, count):
        _print_sample(line, as_json)
    if follow and places.control is not None:
        complain(f"tail: the daemon is not running, these are the last of {places.store}; start it: systemctl start {PROGRAM}")


def _print_sample(line: "Document", as_json: bool) -> None:
    if as_json:
        _print_json({key: line[key] for key in ("time", "sensor", "values", "units", "flags", "state", "why") if key in line})
    else:
        from edge.report import sample_line

        click.echo(sample_line(line))
    sys.stdout.flush()


@harmattan_edge.command()
@click.option("--vectors", type=FILE, required=True, help="A file of golden vectors, or a folder of them.")
@profiles_option
@json_option
def decode(vectors: Path, folders: tuple[Path, ...], as_json: bool) -> int:
    """Check golden vectors: raw bytes must give the values that somebody else published for them."""
    from adapters.vectors import check as check_vectors

    report = check_vectors(vectors, _catalogue(folders))
    if as_json:
        failures = [{"id": name, "why": why} for name, why in report.failures]
        _print_json({"passed": report.passed, "failed": report.failed, "failures": failures})
    else:
        for name, why in report.failures:
            click.echo(f"{name}: {why}")
        click.echo(f"{report.passed} passed, {report.failed} failed")
    return 1 if report.failed else 0


def _catalogue(folders: tuple[Path, ...]) -> "Catalogue":
    from adapters.catalogue import Catalogue

    return Catalogue.load(list(folders))


@harmattan_edge.command()
@click.option("--profile", "name", required=True, help="The device's profile, as `profiles list` names it.")
@click.option("--at", required=True, help="Where it is, as in gateway.yaml: serial:/dev/ttyUSB0.")
@profiles_option
@json_option
def read(name: str, at: str, folders: tuple[Path, ...], as_json: bool) -> int:
    """Read one live answer: raw bytes beside values and flags. Exit 1 when the device gives no reading, with the reason."""
    from adapters.transport.base import parse_address
    from edge.read import lines
    from edge.read import read as poll

    live = poll(_catalogue(folders).get(name), parse_address(at, Path.cwd()))
    if as_json:
        _print_json(live)
    else:
        for line in lines(live):
            click.echo(line)
    return 0 if live.state == "ok" else 1


@harmattan_edge.command()
@click.option("--port", "ports", type=FILE, multiple=True, help="Look at this serial port only; may be given several times.")
@click.option("--host", "hosts", multiple=True, help="Look at this host of the network; may be given several times.")
@profiles_option
@json_option
def detect(ports: tuple[Path, ...], hosts: tuple[str, ...], folders: tuple[Path, ...], as_json: bool) -> int:
    """Find devices at serial ports and in the network, and print the YAML to paste.

    Listens; asks only what a profile marks as harmless to any other device; never writes to a Modbus register.
    Without --port and --host: all serial ports, and the hosts that this machine knows.
    """
    from edge import detect as search

    everywhere = not ports and not hosts
    profiles = search.profiles_of(_catalogue(folders))
    seen = search.detect(profiles, search.serial_ports() if everywhere else ports, search.neighbours() if everywhere else hosts)
    found = [one for one in seen if isinstance(one, search.Found)]
    silent = [one for one in seen if isinstance(one, search.Silent)]
    if as_json:
        _print_json({"found": found, "silent": silent})
        return 0 if found else 1
    for one in silent:
        click.echo(f"# {one.at}: {one.why}")
    if not found:
        complain("detect: no device found; is one plugged in, and this user in the group dialout? --port and --host name a place")
        return 1
    click.echo("sensors:")
    for number, device in enumerate(found, 1):
        for line in device.yaml(number):
            click.echo(line)
    return 0


@harmattan_edge.group()
def profiles() -> None:
    """Show the devices that are supported; check profiles of your own."""


@profiles.command("list")
@profiles_option
def profiles_list(folders: tuple[Path, ...]) -> None:
    """List the profiles: id, models, parameters."""
    catalogue = _catalogue(folders)
    for profile_id in catalogue.ids():
        profile = catalogue.get(profile_id)
        click.echo(f"{profile.id:<28}  {', '.join(profile.models)}: {', '.join(profile.numbers)}")


@profiles.command("show")
@click.argument("name")
@profiles_option
def profiles_show(name: str, folders: tuple[Path, ...]) -> None:
    """Show one profile: its parameters with units and ranges, its caveats."""
    from readings.parameters import PARAMETERS

    profile = _catalogue(folders).get(name)
    click.echo(f"{profile.id}: {', '.join(profile.models)}\nfile: {profile.file}")
    for parameter in profile.numbers:
        field = profile.every[parameter]
        span = f"  {field.range[0]:g} to {field.range[1]:g}" if field.range else ""
        place = "  (inside the housing)" if field.place == "internal" else ""
        click.echo(f"  {parameter:<16} {PARAMETERS[parameter].unit:<8}{span}{place}".rstrip())
    for caveat in profile.caveats:
        click.echo(f"caveat: {caveat}")
    for source in profile.source:
        click.echo(f"source: {source}")
    if profile.extends:
        click.echo(f"variant of: {profile.extends}")


@profiles.command("check")
@click.argument("folder", type=FILE)
def profiles_check(folder: Path) -> None:
    """Say everything that is wrong with the profiles of FOLDER (<maker>/<model>.yaml)."""
    catalogue = _catalogue((folder,))
    own = [name for name in catalogue.ids() if catalogue.path(name).is_relative_to(folder.resolve())]
    mistakes = catalogue.check(own)
    if mistakes:
        complain(*mistakes)
        raise Stop(_count(len(mistakes), "mistake"), what=str(folder), hint="correct the lines above")
    if not own:
        raise Stop("no profile in it", what=str(folder), hint="profiles stand at <maker>/<model>.yaml")
    click.echo(f"{folder}: ok: {_count(len(own), 'profile')}")


@harmattan_edge.group()
def outbox() -> None:
    """The buffer on the card: every reading until the hub holds it safely."""


@outbox.command("status")
@placed
@json_option
def outbox_status(config: Path | None, socket: Path | None, store: Path | None, as_json: bool) -> None:
    """Say what the outbox file holds: rows, bytes, streams."""
    from edge.outbox import Outbox

    path = _store(config, store)
    with Outbox.read(path) as reader:
        rows, octets = reader.size()
        streams = reader.streams()
        card = reader.card
    if as_json:
        shown = [{"stream": stream, "lo": lo, "hi": hi} for stream, lo, hi in streams]
        _print_json({"path": str(path), "card": card, "rows": rows, "bytes": octets, "streams": shown})
        return
    click.echo(f"{path}: card {card}, {rows:,} rows, {octets:,} bytes")
    for stream, lo, hi in streams:
        click.echo(f"  stream {stream}: {lo} to {hi}")


@outbox.command("export")
@placed
@click.option("--out", type=FILE, required=True, help="Write to this file; - is standard output.")
@click.option("--raw", is_flag=True, help="Write wire batches, one after another, as they travel to the hub.")
@click.option("--canonical", is_flag=True, help="Add each row's canonical bytes, which its crc covers.")
def outbox_export(config: Path | None, socket: Path | None, store: Path | None, out: Path, raw: bool, canonical: bool) -> None:
    """Write every committed row as one line of JSON, beside a running daemon or without one."""
    from edge.export import export

    if raw and canonical:
        raise click.UsageError("--raw holds the canonical rows already")
    path = _store(config, store)
    with _opened(out) as sink:  # before root is given up: the file may lie where only root writes
        _as_owner(path)
        done = export(path, sink, canonical=canonical, raw=raw, progress=_progress)
    _say_exported(done)


@outbox.command("verify")
@placed
@json_option
def outbox_verify(config: Path | None, socket: Path | None, store: Path | None, as_json: bool) -> int:
    """Check every row of the outbox: its checksum, its number, its schema. Exit 1 when one is not as it was committed."""
    from edge.verify import verify

    path = _store(config, store)
    _as_owner(path)
    found = verify(path, progress=_progress)
    if as_json:
        damaged = [{"stream": stream, "seq": seq, "why": why} for stream, seq, why in found.damaged]
        counts = {key: getattr(found, key) for key in ("card", "rows", "streams", "away", "tombstoned", "unreadable")}
        _print_json({"path": str(path), **counts, "damaged": damaged})
        return 0 if found.good else 1
    for stream, seq, why in found.damaged:
        click.echo(f"stream {stream} row {seq}: {why}")
    said = (
        "ok"
        if found.good
        else f"{_count(len(found.damaged), 'row')} damaged, {_count(found.unreadable, 'sample')} without schema"
    )
    left = f"; {found.away:,} have left it, {found.tombstoned:,} of them lost and said so" if found.away else ""
    click.echo(f"{path}: {said}: {_count(found.rows, 'good row')} in {_count(found.streams, 'stream')}{left}")
    return 0 if found.good else 1


@outbox.command("salvage")
@click.argument("file", type=FILE)
@placed
def outbox_salvage(file: Path, config: Path | None, socket: Path | None, store: Path | None) -> int:
    """Rescue the rows of a damaged outbox FILE, and of its -wal, into the outbox at --store; a new one is made if need be."""
    from edge.health import Clock
    from edge.rescue import by_hand

    path = _store(config, store)
    become = lambda: _as_owner(path)  # noqa: E731  # after the file was opened, which only root may read perhaps
    done = by_hand(file, path, version=version(), at=Clock().moment(), progress=_progress, before_writing=become)
    lost = f"; {done.missing:,} could not be read and are said to be lost" if done.missing else ""
    unnamed = f"; {_count(done.unnamed, 'row')} of no known stream left alone" if done.unnamed else ""
    click.echo(f"{path}: {_count(done.rows, 'row')} of {_count(done.streams, 'stream')} salvaged{lost}{unnamed}")
    return 0 if done.rows else 1


def _progress(rows: int) -> None:
    """On a terminal only."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{rows:,} rows ")
        sys.stderr.flush()


def _opened(out: Path) -> "AbstractContextManager[BinaryIO]":
    if str(out) == "-":
        from contextlib import nullcontext

        return nullcontext(sys.stdout.buffer)
    try:
        return out.open("wb")
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise Stop(f"cannot be written: {why}", what=str(out), hint="name a file in a folder that this user may write") from error


def _as_owner(path: Path) -> None:
    """Root becomes the file's owner for good: SQLite's side files must stay the daemon's, or it could not go on.

    Nothing may be imported from here on: the interpreter may lie where only root reads.
    """
    if os.geteuid() != 0 or not path.exists():
        return
    owner = path.stat()
    if owner.st_uid == 0:
        return
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)


def _say_exported(done: "Exported") -> None:
    left_out = [f"{done.skipped:,} were evicted meanwhile"] if done.skipped else []
    left_out += [f"{done.damaged:,} damaged ones are left out"] if done.damaged else []
    start = "\r" if sys.stderr.isatty() else ""
    click.echo(f"{start}{_count(done.rows, 'row')} exported{''.join(f', {part}' for part in left_out)}", err=True)


def _store(config: Path | None, store: Path | None) -> Path:
    if store is not None:
        return store
    from edge.config import whereabouts

    return whereabouts(config or DEFAULT_CONFIG).store


@harmattan_edge.command()
@click.argument("network", type=FILE)
@click.option("--log", "log_path", type=FILE, help="Write one line of JSON per answer served.")
def simulate(network: Path, log_path: Path | None) -> int:
    """Play the sensors of NETWORK.yaml: pseudo-terminals, Modbus TCP and HTTP that speak their profiles' bytes."""
    from edge.simulate import simulate as play

    return play(network, log_path)


@harmattan_edge.command()
@click.argument("hub_url")
@click.argument("token")
@click.option("--out", type=FILE, help="Write the credential here [default: /etc/harmattan/credential].")
@click.option("--usb", type=FILE, help="Write it as GATEWAY.credential into this folder, for a gateway without internet.")
def enrol(hub_url: str, token: str, out: Path | None, usb: Path | None) -> int:
    """Trade the one-time TOKEN of the hub at HUB_URL for this gateway's credential file."""
    from edge.enrol import enrol as trade

    if out and usb:
        raise click.UsageError("--out and --usb are two places; give one")
    try:
        credential, path = trade(hub_url, token, out=out, usb=usb)
    except Trouble as error:
        complain(f"enrol: {error}")
        return 1
    click.echo(f"{path}: credential of gateway {credential.gateway}")
    if usb:
        click.echo(f"at the gateway: sudo install -m 600 -o harmattan {path.name} /etc/harmattan/credential")
    else:
        click.echo(f"restart the daemon to use it: systemctl restart {PROGRAM}")
    return 0


def _print_json(document: Any) -> None:
    import msgspec

    click.echo(msgspec.json.encode(document).decode())


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _not_in_this_version(group: click.Group, name: str, purpose: str) -> None:
    """A command of the contract that answers --help only, whatever is given to it."""

    def refuse(context: click.Context) -> None:
        path = context.command_path.removeprefix(PROGRAM).strip()
        raise Stop("not in this version", what=path, hint=NOT_YET_HINT)

    settings = {"ignore_unknown_options": True, "allow_extra_args": True}
    command = click.Command(name, callback=click.pass_context(refuse), context_settings=settings)
    command.help = f"{purpose} Not in this version."
    group.add_command(command)


_not_in_this_version(harmattan_edge, "doctor", "Check the gateway: one line per check with what to do.")
_not_in_this_version(harmattan_edge, "top", "Watch the gateway's values change.")
_not_in_this_version(harmattan_edge, "replay", "Judge recorded readings exactly as the daemon would.")


if __name__ == "__main__":
    main()
