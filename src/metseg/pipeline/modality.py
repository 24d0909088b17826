"""Is a case MR or CT? Asked before it is read, to choose the model that ships for it."""

from metseg.core.study import Modality
from metseg.io.discover import CaseInput
from metseg.io.limits import DEFAULT_LIMITS, Limits
from metseg.io.read import dicom_modality, first_image, is_dicom_case
from metseg.pipeline.intensity import measure_intensity


def modality_of(case_input: CaseInput, limits: Limits = DEFAULT_LIMITS) -> Modality:
    """The modality of a case, by the surest thing known.

    The names of its sequences decide, where the user gave them; then the headers of DICOM files, among which MR comes
    before CT, since it shows metastases better; then the intensities of the image. Several channels are MR.

    Args:
        case_input: what will be read.
        limits: what a file may claim and hold.

    Raises:
        InputError: the case cannot be read.
    """
    case_input.check()
    if case_input.sequences is not None:
        return "CT" if set(case_input.sequences) == {"ct"} else "MR"
    if is_dicom_case(case_input):
        return dicom_modality(case_input, limits)
    if len(case_input.channels) > 1:
        return "MR"
    return "CT" if measure_intensity(first_image(case_input, limits).volume).is_ct else "MR"
