"""Engines run models: a study in, probabilities out. Nothing heavy is imported until an engine is loaded."""

from metseg.engines.base import Engine, ModelCard
from metseg.engines.registry import ENGINES, load_engine

__all__ = ["ENGINES", "Engine", "ModelCard", "load_engine"]
