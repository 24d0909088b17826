"""The report as PDF/A, by WeasyPrint, out of the page that the report is anyway."""

import importlib.util
import warnings
from base64 import b64encode
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Final

from metseg.core.errors import MissingExtraError

VARIANT: Final = "pdf/a-2u"
_INSTALL: Final = "Install it with: pip install 'metseg[pdf]'"
_PANGO: Final = "On Debian: apt install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"


def _strict_afterwards() -> ModuleType:
    """WeasyPrint lets Pillow read truncated images from then on, in all of the process: no scan may be one."""
    from PIL import ImageFile

    before = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        return import_module("weasyprint")
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def weasyprint() -> ModuleType:
    """The library, ready to draw.

    Raises:
        MissingExtraError: it, or a library of the system that it needs, is not installed.
    """
    if importlib.util.find_spec("weasyprint") is None:
        raise MissingExtraError("A report as PDF needs WeasyPrint, which is not installed.", hint=_INSTALL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _strict_afterwards()
    except OSError:
        message = "A report as PDF needs the system's library Pango, which WeasyPrint does not find."
        raise MissingExtraError(message, hint=_PANGO) from None


def render_pdf(page: str) -> bytes:
    """A page as PDF/A-2u: fonts embedded, text that can be searched, nothing fetched from anywhere.

    Args:
        page: HTML that needs nothing but itself.

    Raises:
        MissingExtraError: WeasyPrint, or a library that it needs, is not installed.
    """
    library = weasyprint()
    fetcher = library.URLFetcher(allowed_protocols=("data",))
    fonts = library.text.fonts.FontConfiguration()
    style = library.CSS(string=_style(), font_config=fonts, url_fetcher=fetcher)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        document = library.HTML(string=page, url_fetcher=fetcher)
        content: bytes = document.write_pdf(
            stylesheets=[style], font_config=fonts, pdf_variant=VARIANT, optimize_images=False
        )
    return content


def _style() -> str:
    """DejaVu Sans as it comes with matplotlib, so that every machine draws the same page.

    Pixels stay as they are, as PDF/A lets no viewer smooth them (ISO 19005-2, 6.2.8).
    """
    spec = importlib.util.find_spec("matplotlib")
    faces = []
    for folder in spec.submodule_search_locations or () if spec else ():
        for name, weight in (("DejaVuSans.ttf", "normal"), ("DejaVuSans-Bold.ttf", "bold")):
            path = Path(folder, "mpl-data", "fonts", "ttf", name)
            if path.is_file():
                uri = f"data:font/ttf;base64,{b64encode(path.read_bytes()).decode()}"
                faces.append(f'@font-face{{font-family:"DejaVu Sans";font-weight:{weight};src:url({uri})}}')
    return "\n".join([*faces, "img{image-rendering:crisp-edges}", 'body{font-family:"DejaVu Sans",sans-serif}'])
