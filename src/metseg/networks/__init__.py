"""Networks, one file each. Needs torch (the extra ``torch`` or ``train``)."""
