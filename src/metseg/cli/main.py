"""``metseg``: the commands."""

from typing import Annotated

import typer

from metseg import __version__
from metseg.cli.compare import compare_command
from metseg.cli.datasets import datasets_app
from metseg.cli.demo import demo_command
from metseg.cli.evaluate import evaluate_command
from metseg.cli.info import info_command
from metseg.cli.model_choice import models_app
from metseg.cli.node import node_command
from metseg.cli.segment import segment_command
from metseg.cli.serve import serve_app
from metseg.cli.synthesise import synthesise_command
from metseg.cli.train import train_command
from metseg.cli.transfer import pull_command, push_command

app = typer.Typer(
    name="metseg",
    help="Find, outline, measure and follow brain metastases on MRI and CT. Research software, not for diagnosis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("segment", no_args_is_help=True)(segment_command)
app.command("demo", no_args_is_help=True)(demo_command)
app.command("evaluate", no_args_is_help=True)(evaluate_command)
app.command("compare", no_args_is_help=True)(compare_command)
app.command("synthesise", no_args_is_help=True)(synthesise_command)
app.command("train", no_args_is_help=True)(train_command)
app.command("node", no_args_is_help=True)(node_command)
app.command("pull", no_args_is_help=True)(pull_command)
app.command("push", no_args_is_help=True)(push_command)
app.add_typer(models_app)
app.add_typer(datasets_app)
app.add_typer(serve_app)
app.command("info")(info_command)


def _print_version(wanted: bool) -> bool:
    if wanted:
        typer.echo(f"metseg {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""
