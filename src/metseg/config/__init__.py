"""Every room's options composed, and read from TOML."""
