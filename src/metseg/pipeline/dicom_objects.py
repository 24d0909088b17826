"""What each DICOM format of a result is made of."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from metseg.config.options import Format, SegmentOptions
from metseg.core.result import CaseResult
from metseg.core.study import Identity

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

    from metseg.io.dicom_reference import Reference
    from metseg.report.pictures import CasePictures

Pictures = Callable[[], "CasePictures"]


@dataclass
class ObjectMaker:
    """Makes the DICOM objects of one result.

    Args:
        result: the case.
        reference: the series that they refer to.
        options: what was asked for.
        pictures: gives those of the case.
        identity: whose it is, for the report's head; None where nobody asked.
        now: when they are made.
        warnings: sentences so far; more are added.
        segmentation: the SEG, once it is made: the SR refers to it.
    """

    result: CaseResult
    reference: "Reference"
    options: SegmentOptions
    pictures: Pictures
    identity: Identity | None
    now: datetime
    warnings: list[str] = field(default_factory=list)
    segmentation: "Dataset | None" = None

    def make(self, name: Format) -> "Dataset":
        """The object of one format."""
        makers: dict[Format, Callable[[], Dataset]] = {
            "dicom-seg": self._seg,
            "sr": self._sr,
            "rtstruct": self._rtstruct,
            "secondary-capture": self._capture,
            "encapsulated-pdf": self._pdf,
        }
        return makers[name]()

    @property
    def _model(self) -> tuple[str, str]:
        model = self.result.provenance.model
        return str(model["name"]), str(model["version"])

    @property
    def _instances(self) -> NDArray[np.integer]:
        return self.reference.carry(self.result.instances.array)

    def _seg(self) -> "Dataset":
        from metseg.io.dicom_seg import make_seg

        lesions = self.result.lesions
        self.segmentation = make_seg(
            self._instances, lesions, self.reference, self._model, self.now, self.options.seg_type
        )
        return self.segmentation

    def _sr(self) -> "Dataset":
        from metseg.io.dicom_sr import make_sr

        lesions = self.result.lesions
        return make_sr(self.segmentation, self._instances, lesions, self.reference, self._model, self.now)

    def _rtstruct(self) -> "Dataset":
        from metseg.io.rt_regions import make_regions
        from metseg.io.rtstruct import make_rtstruct

        brain = self._brain()
        within = None if brain is None else self.reference.carry(brain)
        regions = make_regions(self._instances, self.reference, self.options.margins_mm, within)
        return make_rtstruct(regions, self.reference, " ".join(self._model), self.now)

    def _brain(self) -> NDArray[np.bool_] | None:
        """Where margins may go, if that is limited: what is not empty in an image whose skull was taken off."""
        if not (self.options.margins_mm and self.options.margins_in_brain):
            return None
        if not self.result.study.skull_stripped:
            self.warnings.append("Margins were not cut at the brain's edge, as the skull is in the image.")
            return None
        return np.asarray(np.any([image.array != 0 for image in self.result.study.images.values()], axis=0))

    def _capture(self) -> "Dataset":
        from metseg.io.secondary_capture import make_capture
        from metseg.report.preview import draw_capture

        picture = draw_capture(self.result, pictures=self.pictures())
        return make_capture(np.array(picture.convert("RGB")), self.reference, self.now)

    def _pdf(self) -> "Dataset":
        from metseg.io.encapsulated_pdf import make_encapsulated_pdf
        from metseg.report.html import render_report
        from metseg.report.pdf import render_pdf

        result = warned(self.result, self.warnings)
        page = render_report(result, mode="print", pictures=self.pictures(), identity=self.identity)
        named = self.identity is not None and self.identity != Identity()
        return make_encapsulated_pdf(render_pdf(page), self.reference, self.now, names_patient=named)


def drawn_once(result: CaseResult) -> Pictures:
    """The pictures of a case: drawn when they are first wanted, and once."""

    @cache
    def draw() -> "CasePictures":
        from metseg.report.pictures import draw_pictures

        return draw_pictures(result)

    return draw


def warned(result: CaseResult, warnings: list[str]) -> CaseResult:
    """The result with more warnings, for its report."""
    told = (*result.provenance.warnings, *warnings)
    return replace(result, provenance=replace(result.provenance, warnings=told))
