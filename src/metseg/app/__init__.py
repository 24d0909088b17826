"""The app: Streamlit pages that speak HTTP to the service. ``streamlit run app/frontend.py``."""
