"""metseg: find, outline, measure and follow brain metastases on MRI and CT. Research software."""

from importlib.metadata import version

__version__ = version("metseg")

__all__ = ["__version__"]
