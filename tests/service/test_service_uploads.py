"""Uploads that must not pass: too large, too slow, cut off, encoded, of the wrong kind, none or several studies in them."""

import asyncio
import io
import shutil
import zipfile

import pytest

from dicom_cases import write_series
from metseg.service.api.context import Service
from metseg.service.problems import Problem
from metseg.service.upload import Caps, Receiver, receive
from service.test_service_jobs import files_below, refused


def nothing_left(client):
    service: Service = client.app.state.service
    left = files_below(service.vault.root / "incoming") + files_below(service.vault.root / "jobs")
    return left == [] and list((service.vault.root / "incoming").iterdir()) == [] and service.jobs.page(10) == []
