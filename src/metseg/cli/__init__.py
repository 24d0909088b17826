"""The command line: Typer commands, thin over the pipeline."""
