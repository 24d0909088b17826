"""A PostgreSQL of the test's own, from Debian's package, in a temporary folder."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service_under_fire import free_port


@contextmanager
def postgres() -> Iterator[str]:
    """URL of an empty database; its server ends with the block."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not programs:
        pytest.skip("needs PostgreSQL: apt install postgresql")
    # It refuses to run as root, and Debian makes this user for it.
    user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    folder, port = Path(tempfile.mkdtemp(prefix="metseg-postgres-")), free_port()
    if user:
        shutil.chown(folder, **user)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    data, listen = folder / "data", f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder}"

    def run(program, *arguments):
        command = [programs[-1] / program, *arguments]
        subprocess.run(list(map(str, command)), check=True, cwd=folder, **quiet, **user)

    run("initdb", "-D", data, "-U", "metseg", "--auth=trust", "-E", "UTF8", "--no-sync")
    try:
        run("pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", listen, "start")
        try:
            run("createdb", "-h", "127.0.0.1", "-p", port, "-U", "metseg", "metseg")
            yield f"postgresql://metseg@127.0.0.1:{port}/metseg"
        finally:
            run("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
