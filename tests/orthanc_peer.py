"""A real archive for the tests: Orthanc with its DICOMweb plugin, as Debian packages them."""

import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from node_cases import free_port

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@dataclass(frozen=True)
class Orthanc:
    """A running archive."""

    dicom: int
    http: int

    @property
    def dimse(self) -> str:
        return f"dimse://ORTHANC@127.0.0.1:{self.dicom}"

    @property
    def web(self) -> str:
        return f"http://127.0.0.1:{self.http}/dicom-web"

    def get(self, path: str):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", headers={"Accept": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            return json.load(answer)

    def empty(self) -> None:
        for study in self.get("/studies"):
            url = f"http://127.0.0.1:{self.http}/studies/{study}"
            urllib.request.urlopen(urllib.request.Request(url, method="DELETE"), timeout=10).close()


def why_no_orthanc() -> str:
    missing = [name for name in ("Orthanc", "storescu") if shutil.which(name) is None]
    missing += [] if PLUGIN.exists() else ["its plugin for DICOMweb"]
    return f"needs {', '.join(missing)} (Debian: orthanc, orthanc-dicomweb, dcmtk)" if missing else ""


@contextmanager
def orthanc(folder: Path, modalities: dict | None = None):
    """Orthanc in a folder of its own; it knows ``modalities`` (name: [AE title, host, port]) for C-MOVE."""
    if why_no_orthanc():
        pytest.skip(why_no_orthanc())
    dicom, http = free_port(), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "StorageDirectory": str(folder / "db"), "IndexDirectory": str(folder / "db"), "Plugins": [str(PLUGIN)],
        "DicomAet": "ORTHANC", "DicomPort": dicom, "HttpPort": http, "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False, "DicomCheckCalledAet": True, "DicomWeb": {"Enable": True},
        "DicomModalities": {"metseg": ["METSEG", "127.0.0.1", 1], **(modalities or {})},
    }  # fmt: skip
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        archive = Orthanc(dicom, http)
        for _ in range(300):
            try:
                archive.get("/system")
                archive.get("/dicom-web/studies")
                break
            except OSError:
                assert process.poll() is None, (folder / "log").read_text(errors="replace")
                time.sleep(0.1)
        yield archive
    finally:
        process.kill()
        process.wait()
