"""From a mask to lesions: components, and what is measured of each."""
