"""The engine for an accelerator. Needs the extra ``torch``; only ``loading`` can be imported without it."""
