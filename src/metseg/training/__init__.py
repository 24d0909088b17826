"""Learn a model: data on the fly, losses, the loop, and its end, a bundle. Needs the extra ``train`` (torch)."""
