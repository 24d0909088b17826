"""Profile ``field``: what papers and guidelines ask of a detector and segmenter of brain metastases.

Judge each case with ``score_case``, then all with ``summarise``. Formulas, sources and what happens where a side is
empty: docs/reference/evaluate-field.md.
"""

from metseg.evaluate.field_bins import FieldBin
from metseg.evaluate.field_case import score_case
from metseg.evaluate.field_records import ComponentScore, FieldCase, FieldOptions, LesionScore, PanopticSums
from metseg.evaluate.field_summary import FieldSummary, summarise

__all__ = [
    "ComponentScore",
    "FieldBin",
    "FieldCase",
    "FieldOptions",
    "FieldSummary",
    "LesionScore",
    "PanopticSums",
    "score_case",
    "summarise",
]
