"""The API for ``uvicorn app.main:app``; it starts a worker of its own. All of it is in ``metseg.service``."""

from metseg.service.api.app import create_app
from metseg.service.settings import read_settings

app = create_app(read_settings())
