"""Public layouts of data sets, splits, and data sets of synthetic studies."""
