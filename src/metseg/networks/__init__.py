"""Networks, one file each. Needs the extra ``train`` (torch)."""
