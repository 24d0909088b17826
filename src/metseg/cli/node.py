"""``metseg node``: studies in, results out, without a click."""

import logging
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from metseg.cli import options as shared
from metseg.cli.console import print_json, reported
from metseg.core.errors import InputError

if TYPE_CHECKING:
    from metseg.node.options import NodeOptions
    from metseg.node.store import Store


def node_command(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file: store, listen, send, rules …")],
    *,
    status: Annotated[
        bool, typer.Option("--status", help="List the studies and what became of them, and end.")
    ] = False,
    retry: Annotated[
        list[str] | None,
        typer.Option("--retry", metavar="KEY", help="Have a study of --status segmented and sent again, and end."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --status: print one JSON object.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log warnings and errors only.")] = False,
    debug: shared.DebugOption = False,
) -> None:
    """Receive studies, segment them, and send the results on, until told to stop (Ctrl-C, SIGTERM).

    It needs the extra node. Research software: not for diagnosis or treatment decisions.
    """
    with reported(as_json=as_json, debug=debug):
        from metseg.io.dicom_values import quiet_for_good

        quiet_for_good()
        from metseg.node.options import read_node_file

        options = read_node_file(config)
        if status or retry:
            _look(options, retry or [], as_json=as_json)
            return
        _log_to_stderr(quiet=quiet)
        _run(options)


def _run(options: "NodeOptions") -> None:
    from threading import Event

    from metseg.node.run import run_node

    stop = Event()
    before = [(number, signal.signal(number, lambda *_: stop.set())) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        run_node(options, stop)
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def _log_to_stderr(*, quiet: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("metseg")
    logger.addHandler(handler)
    logger.propagate = False
    if logger.getEffectiveLevel() > logging.DEBUG:
        logger.setLevel(logging.WARNING if quiet else logging.INFO)


def _look(options: "NodeOptions", retry: list[str], *, as_json: bool) -> None:
    """The state of the store; a node may be running on it."""
    from metseg.node.run import open_store

    if not (options.store / "register.sqlite").is_file():
        raise InputError("No node has run on this store yet.", hint="Start it: metseg node CONFIG")
    store = open_store(options)
    try:
        for key in retry:
            if not store.retry(key):
                raise InputError(
                    f"{key} names no study that could be done again.", hint="See metseg node CONFIG --status."
                )
        studies = _described(store)
        sources = [{"key": key, "reason": reason} for key, reason in store.register.faulty_sources()]
    finally:
        store.register.close()
    if as_json:
        print_json({"studies": studies, "sources": sources, "exit_code": 0})
        return
    for study in studies:
        typer.echo(f"{study['key']} v{study['version']} {study['state']:10} {study['reason']}".rstrip())
        for each in study["objects"]:
            typer.echo(f"    {each['name']} to {each['target']}: {each['state']} {each['reason']}".rstrip())
    for source in sources:
        typer.echo(f"source {source['key']}: {source['reason']}")


def _described(store: "Store") -> list[dict[str, Any]]:
    shown = ("name", "target", "state", "tries", "reason")
    return [
        {
            "key": row.key, "state": row.state, "version": row.version, "tries": row.tries, "more_came": row.fresh,
            "cleared": row.cleared, "reason": row.reason,
            "objects": [
                {name: getattr(each, name) for name in shown} for each in store.register.objects(row.key, row.version)
            ],
        }
        for row in store.register.studies()
    ]  # fmt: skip
