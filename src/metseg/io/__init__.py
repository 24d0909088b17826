"""The edge: files and foreign conventions come in checked, and results go out whole or not at all."""
