"""Models that nnU-Net v2 trained, run as it runs them, without it."""
