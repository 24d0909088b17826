"""The app in a real browser, with and without WebGL2: send, follow, see the overlay, jump, download."""

import io
import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from importlib.metadata import requires

import numpy as np
import pytest
from PIL import Image

from metseg.app.colours import colours
from service_under_fire import free_port

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium")
NO_SANDBOX = "--no-sandbox"
SOFTWARE = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", NO_SANDBOX]
WITHOUT = ["--disable-gpu", "--disable-webgl", "--disable-3d-apis", NO_SANDBOX]
PATIENCE_MS = 240_000
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt install chromium)"),
    pytest.mark.skipif(
        not any("streamlit" in line for line in requires("metseg") or []),
        reason="metseg's metadata are older than its extra app: pip install -e . again",
    ),
]


@pytest.fixture(scope="module")
def address(root, service):
    """Where the app is."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", "app/frontend.py", f"--server.port={port}"]
    with subprocess.Popen(
        [*command, "--", "--service", service.url], cwd=root, env=dict(os.environ), stdout=subprocess.DEVNULL
    ) as process:
        yield f"http://127.0.0.1:{port}"
        process.terminate()


@pytest.fixture
def page(request, address):
    """A page, and every address that it asked."""
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=request.param)
        found = browser.new_page(viewport={"width": 1200, "height": 900})
        found.set_default_timeout(PATIENCE_MS)
        found.asked = []
        found.on("request", lambda asked: found.asked.append(asked.url))
        open_app(found, address)
        yield found
        browser.close()


def open_app(page, address):
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while True:
        try:
            page.goto(f"{address}/?lang=en")
        except playwright.Error:
            assert time.monotonic() < deadline
            time.sleep(0.3)
        else:
            return


def coloured(png, colour):
    """How many pixels have the hue of ``colour``, mixed with whatever grey."""
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).astype(float)
    chroma = pixels - pixels.min(axis=2, keepdims=True)
    wanted = np.array(colour, float) - min(colour)
    strength = np.linalg.norm(chroma, axis=2)
    alike = (chroma @ wanted) / np.maximum(strength * np.linalg.norm(wanted), 1e-9)
    return int(((strength > 40) & (alike > 0.99)).sum())


def send_and_open(page, head_file):
    page.locator("input[type=file]").first.set_input_files(str(head_file))
    page.get_by_text(head_file.name).first.wait_for()
    page.get_by_role("button", name=re.compile(r"\bSend$")).click()  # an icon has a name too
    page.locator("[class*=st-key-open-] button").click()
    page.get_by_role("tab", name="Images").wait_for()


def read_archive(page):
    page.get_by_role("tab", name="Downloads").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Everything as a zip").click()
    with zipfile.ZipFile(waiting.value.path()) as archive:
        return set(archive.namelist())


@pytest.mark.parametrize("page", [SOFTWARE], indirect=True)
def test_with_webgl2_lesions_are_seen_and_reached(page, address, head_file):
    send_and_open(page, head_file)
    viewer = page.locator(".metseg-viewer")
    page.wait_for_selector(".metseg-viewer[data-state=ready]")
    assert viewer.get_attribute("data-shown") == "image lesions"
    page.get_by_role("button", name="Next").click()
    page.wait_for_selector(".metseg-viewer[data-mm]")
    there = [float(part) for part in viewer.get_attribute("data-mm").split()]
    assert there == pytest.approx([20, 12, 5], abs=2)  # the larger lesion of the phantom
    time.sleep(2)
    assert coloured(viewer.screenshot(timeout=PATIENCE_MS), colours(1)[0]) > 200
    assert {"lesions.nii.gz", "report.html", "run.json"} <= read_archive(page)
    assert [url for url in page.asked if not url.startswith((address, "data:", "blob:"))] == []


@pytest.mark.parametrize("page", [WITHOUT], indirect=True)
def test_without_webgl2_the_servers_slices_take_over(page, address, head_file):
    send_and_open(page, head_file)
    page.get_by_text("no WebGL2").wait_for()
    page.get_by_role("button", name="Next").click()
    page.get_by_text("axial slice").first.wait_for()
    time.sleep(2)
    pictures = page.locator("[data-testid=stImage] img")
    assert pictures.count() == 3
    assert coloured(pictures.first.screenshot(timeout=PATIENCE_MS), colours(1)[0]) > 50
    assert {"lesions.nii.gz", "report.html", "run.json"} <= read_archive(page)
    assert [url for url in page.asked if not url.startswith((address, "data:", "blob:"))] == []
