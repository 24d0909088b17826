"""Studies with known truth: hosts, lesions drawn into them, and what a scanner does to both."""
