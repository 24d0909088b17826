"""The app for ``streamlit run app/frontend.py``. All of it is in ``metseg.app``."""

from metseg.app.main import main

main()
