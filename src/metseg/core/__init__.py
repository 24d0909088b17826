"""The nouns: grids, volumes, studies, lesions, results; and errors, options, progress, registry, extras."""
