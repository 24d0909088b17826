"""``import openvino`` reports to a web service and writes into the home folder; metseg's import must do neither."""

import subprocess
import sys

SCRIPT = """
import socket, sys
calls = []
socket.socket.connect = lambda self, address: calls.append(address)
socket.getaddrinfo = lambda *arguments, **_: calls.append(arguments) or []
from metseg.engines.openvino_runtime import import_openvino
openvino = import_openvino()
assert openvino is import_openvino() is sys.modules["openvino"]
assert openvino.Core().available_devices
assert not calls, calls
loaded = [name for name in sys.modules if "telemetry" in name or name.startswith("openvino.tools.ovc")]
assert not loaded, loaded
"""


def test_importing_openvino_contacts_nobody_and_writes_nothing(tmp_path):
    command = [sys.executable, "-B", "-c", SCRIPT]
    done = subprocess.run(command, env={"HOME": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("*")) == []


def test_nothing_else_imports_openvino(root):
    importers = [
        path.name
        for path in (root / "src").rglob("*.py")
        if any(line.startswith(("import openvino", "from openvino")) for line in path.read_text("utf-8").splitlines())
    ]
    assert importers == []
