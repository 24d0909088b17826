"""Examples for the OpenAPI document."""

from typing import Any, Final

_ID: Final = "019aa9d3f1c04be7a1d2f0935cc81e77"
JOB_EXAMPLE: Final[dict[str, Any]] = {
    "id": _ID,
    "state": "queued",
    "stage": "waiting",
    "progress": 0.0,
    "created": "2026-11-24T03:20:11.402Z",
    "started": None,
    "finished": None,
    "owner": "local",
    "label": "head-17",
    "content_sha256": "6b1a7f0d0f7a3c1fd0f9b41c0b6ec3d3b5b9bb4c5f7d0c1a1a7f33f6b1f0aa21",
    "files": [
        {
            "name": "head-17.nii.gz",
            "field": "files",
            "bytes": 8123456,
            "sha256": "5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef",
        }
    ],
    "options": {"operating_point": "sensitive", "formats": ["nifti", "json", "csv", "png", "html", "probability"]},
    "problem": None,
    "summary": None,
    "links": {
        "self": f"/v1/studies/{_ID}",
        "events": f"/v1/studies/{_ID}/events",
        "cancel": f"/v1/studies/{_ID}/cancel",
    },
}
PROBLEM_EXAMPLE: Final[dict[str, Any]] = {
    "type": "urn:metseg:problem:input-refused",
    "title": "The images cannot be used",
    "status": 422,
    "detail": "There is no image in the upload.",
    "code": "input-refused",
    "hint": "Give .nii, .nii.gz, .mha, .mhd, .nrrd, .nhdr, DICOM, or a zip of these.",
    "instance": "/v1/studies",
}
PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    "default": {
        "description": "A problem, with a code that stays the same.",
        "content": {
            "application/problem+json": {
                "schema": {"$ref": "#/components/schemas/ProblemDocument"},
                "example": PROBLEM_EXAMPLE,
            }
        },
    }
}
