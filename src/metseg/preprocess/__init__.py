"""Invertible image steps: every output says by its grid where it lies, so going back is interpolation."""
