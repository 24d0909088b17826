"""The viewer: NiiVue in a component of Streamlit. ``source/`` is bundled into ``bundle/`` (docs/reference/app.md)."""
