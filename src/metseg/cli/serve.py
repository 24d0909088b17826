"""``metseg serve``: the service, with its worker; and the keys for it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from metseg.cli import options as shared
from metseg.cli.console import print_json, reported

if TYPE_CHECKING:
    from metseg.service.keys import Keys
    from metseg.service.settings import Settings


class RunByDefault(TyperGroup):
    """A group whose command ``run`` need not be named: ``metseg serve --port 9000``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put ``run`` in front of what names no command."""
        named = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named else ["run", *args])


serve_app = typer.Typer(
    name="serve", help="Run the service: HTTP API and worker (options: metseg serve run --help).", cls=RunByDefault
)
keys_app = typer.Typer(name="keys", help="Add, list and revoke API keys.", no_args_is_help=True)
serve_app.add_typer(keys_app)
DataOption = Annotated[
    Path | None,
    typer.Option("--data-dir", metavar="FOLDER", help="Studies, results and database; default metseg-data."),
]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Of the key.")]


@serve_app.command("run")
def run_command(
    *,
    host: Annotated[str | None, typer.Option("--host", help="Address to listen at; default 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option("--port", help="Of the API; default 8000.")] = None,
    data_dir: DataOption = None,
    auth: Annotated[str | None, typer.Option("--auth", help="none (this machine only) or keys.")] = None,
    runners: Annotated[int | None, typer.Option("--runners", help="Studies at the same time.")] = None,
    api: Annotated[bool, typer.Option("--api/--no-api", help="Run the API here.")] = True,
    worker: Annotated[bool, typer.Option("--worker/--no-worker", help="Run a worker here.")] = True,
    debug: shared.DebugOption = False,
) -> None:
    """Run the API and a worker until interrupted; studies that wait then go on after the next start."""
    with reported(debug=debug):
        settings = _settings(
            {"host": host, "port": port, "data_dir": data_dir, "auth": auth, "runners": runners}, needs_key=api
        )
        from metseg.service.supervisor import Supervisor, api_command, worker_command

        commands = {"API": api_command()} if api else {}
        commands |= {"worker": worker_command()} if worker else {}
        typer.echo(f"metseg serves {settings.url}; data in {settings.data_dir.resolve()}. Ctrl+C ends it.", err=True)
        Supervisor(settings, commands).run()


@keys_app.command("add")
def add_command(
    name: NameArgument,
    *,
    scopes: Annotated[
        str, typer.Option("--scopes", metavar="LIST", help="Out of read, submit, erase, all, metrics.")
    ] = "read,submit,erase",
    rate: Annotated[int | None, typer.Option("--rate", min=1, help="Most requests a minute.")] = None,
    queue: Annotated[int | None, typer.Option("--queue", min=1, help="Most studies that wait or run.")] = None,
    data_dir: DataOption = None,
    debug: shared.DebugOption = False,
) -> None:
    """Make a key and print it; it cannot be shown again."""
    with reported(debug=debug):
        typer.echo(_keys(data_dir).add(name, [part.strip() for part in scopes.split(",")], rate, queue))


@keys_app.command("list")
def list_command(
    *, data_dir: DataOption = None, as_json: shared.JsonOption = False, debug: shared.DebugOption = False
) -> None:
    """List keys, revoked ones too."""
    with reported(as_json=as_json, debug=debug):
        found = _keys(data_dir).list()
        if as_json:
            print_json({"keys": [vars(key) for key in found], "exit_code": 0})
            return
        for key in found:
            state = "revoked" if key.revoked else ", ".join(key.scopes)
            typer.echo(f"{key.name}: {state}")


@keys_app.command("revoke")
def revoke_command(name: NameArgument, *, data_dir: DataOption = None, debug: shared.DebugOption = False) -> None:
    """Make a key worthless."""
    with reported(debug=debug):
        _keys(data_dir).revoke(name)


@serve_app.command("audit")
def audit_command(
    *,
    after: Annotated[int, typer.Option("--after", min=0, help="Number of the last entry seen.")] = 0,
    data_dir: DataOption = None,
    debug: shared.DebugOption = False,
) -> None:
    """Print the audit log, a JSON object a line: who did what to which job, and when."""
    with reported(debug=debug):
        settings = _settings({"data_dir": data_dir})
        import json

        from metseg.service.audit import Audit
        from metseg.service.tables import open_database

        for entry in Audit(open_database(settings)).entries(after):
            typer.echo(json.dumps(vars(entry)))


def _settings(given: Mapping[str, Any], *, needs_key: bool = False) -> "Settings":
    """The settings, once it is sure that the extra is installed and that somebody could be let in.

    Raises:
        ConfigError: keys are wanted, but there is none.
    """
    from metseg.core.errors import ConfigError
    from metseg.core.extras import require

    for module in ("fastapi", "uvicorn", "dbos"):
        require(module, "service")
    from metseg.service.keys import Keys
    from metseg.service.settings import read_settings
    from metseg.service.tables import open_database

    settings = read_settings({name: value for name, value in given.items() if value is not None})
    if needs_key and settings.auth == "keys":
        keys = Keys(open_database(settings)).list()
        if not any(key.revoked is None for key in keys):
            raise ConfigError("Keys are wanted, but there is none.", hint="Make one: metseg serve keys add NAME")
    return settings


def _keys(data_dir: Path | None) -> "Keys":
    settings = _settings({"data_dir": data_dir})
    from metseg.service.keys import Keys
    from metseg.service.tables import open_database

    return Keys(open_database(settings))
