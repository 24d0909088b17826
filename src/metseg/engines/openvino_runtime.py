"""OpenVINO, imported so that it sends nothing.

``import openvino`` imports its model converter, and that reports an "import" event to a web service and writes an
identifier into the user's home folder. Images of patients are read by the same process, so it must not. The converter
is optional to OpenVINO (it catches the ImportError) and metseg never converts, so it is hidden while OpenVINO loads.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any, Final

_CONVERTER: Final = "openvino.tools.ovc"


def import_openvino() -> ModuleType:
    """The ``openvino`` module. Where someone else imported it before, it is left as it is."""
    if "openvino" in sys.modules:
        return sys.modules["openvino"]
    modules: dict[str, Any] = sys.modules
    modules[_CONVERTER] = None
    try:
        return import_module("openvino")
    finally:
        # Whoever wants the converter later can still import it, and then knows what it does.
        del modules[_CONVERTER]
