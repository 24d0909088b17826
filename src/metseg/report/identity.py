"""The report's head where identity was asked for."""

from metseg.core.study import Identity
from metseg.report.sentences import plain_name

NONE_SHOWN = "No patient identity on this report."
NONE_KNOWN = "Identity was asked for, but the input names no patient."


def identity_rows(identity: Identity) -> list[tuple[str, str]]:
    """What is known of the patient, as names and texts; nothing in it can turn or break the page's text."""
    named = (
        ("Patient", ", ".join(part for part in identity.name.split("^") if part.strip())),
        ("Patient ID", identity.patient_id),
        ("Born", _date(identity.birth_date)),
        ("Imaged", _date(identity.study_date)),
    )
    return [(what, plain_name(text)) for what, text in named if text.strip()]


def _date(text: str) -> str:
    """DICOM's ``20260131`` as ``2026-01-31``; anything else as it is."""
    return f"{text[:4]}-{text[4:6]}-{text[6:]}" if len(text) == 8 and text.isdigit() else text
