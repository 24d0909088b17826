"""``python -m metseg``: the command line."""

from metseg.cli.main import app

if __name__ == "__main__":
    app()
