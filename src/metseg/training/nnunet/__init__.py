"""nnU-Net v2, whole: it plans and trains in child processes that see their own folder, and a bundle comes of it."""
