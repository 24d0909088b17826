"""One file for each public layout, or family of layouts."""
