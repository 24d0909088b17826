"""Is a case MR or CT? Asked before it is read, to choose the model that ships for it."""

from collections.abc import Callable

from metseg.core.study import Modality
from metseg.io.discover import CaseInput
from metseg.io.image_file import ImageFile
from metseg.io.read import dicom_modality, first_image, is_dicom_case
from metseg.pipeline.intensity import measure_intensity

FirstImage = Callable[[], ImageFile]


def modality_of(case_input: CaseInput, first: FirstImage | None = None) -> Modality:
    """The modality of a case, by the surest thing known.

    The names of its sequences decide, where the user gave them; then the headers of DICOM files, among which MR comes
    before CT, since it shows metastases better; then the intensities of the image. Several channels are MR.

    Args:
        case_input: what will be read.
        first: reads the case's first image, which the caller wants too; it is asked only where intensities decide.

    Raises:
        InputError: the case cannot be read.
    """
    case_input.check()
    if case_input.sequences is not None:
        return "CT" if set(case_input.sequences) == {"ct"} else "MR"
    if is_dicom_case(case_input):
        return dicom_modality(case_input)
    if len(case_input.channels) > 1:
        return "MR"
    image = first_image(case_input) if first is None else first()
    return "CT" if measure_intensity(image.volume).is_ct else "MR"
