"""The node: studies arrive, are segmented, and results are sent on, without anybody clicking."""
