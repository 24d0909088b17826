"""The HTTP side: routes, and what every request goes through."""
