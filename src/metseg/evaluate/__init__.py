"""Judge a segmentation against a reference: pure functions on arrays."""
