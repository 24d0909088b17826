"""Losses of patches whose voxels have labels or lie in regions: what ``metseg train`` can put in place of nnU-Net's."""
