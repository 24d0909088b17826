"""DICOMweb: find studies (QIDO-RS), fetch them (WADO-RS), send objects (STOW-RS)."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydicom import dcmread

from metseg.core.errors import PeerError
from metseg.core.extras import require
from metseg.io.dicom_values import quiet
from metseg.io.peers import OUT_OF_RESOURCES, Delivery, Peer, first_line

if TYPE_CHECKING:
    from dicomweb_client.web import DICOMwebClient

_LOG = logging.getLogger(__name__)
_TRY_AGAIN: Final = frozenset({401, 403, 408, 413, 423, 425, 429, 507})  # and all from 500; 4xx else will not change
_STUDY, _SERIES, _INSTANCE, _MODALITY = "0020000D", "0020000E", "00080018", "00080060"
_STUDY_SIZE: Final = "00201208"


@dataclass(frozen=True)
class FoundStudy:
    """A study that a query found: its UID, and how many objects the service says it holds (-1: it does not say)."""

    uid: str
    size: int


def find_web(peer: Peer, query: Mapping[str, str]) -> list[FoundStudy]:
    """The studies that a query finds.

    Args:
        peer: a DICOMweb service.
        query: values by DICOM keyword.

    Raises:
        PeerError: the service cannot be reached, or does not answer well.
    """

    def page(offset: int, web: "DICOMwebClient") -> list[Any]:
        return web.search_for_studies(search_filters=dict(query), fields=[_STUDY_SIZE], offset=offset or None)

    found = {uid: _first(item, _STUDY_SIZE) for uid, item in _all_pages(peer, page, _STUDY).items()}
    return [FoundStudy(uid, int(size) if size.isdigit() else -1) for uid, size in found.items()]


def fetch_web(
    peer: Peer,
    study: str,
    *,
    modalities: frozenset[str] | None = None,
    have: Callable[[str], bool] = lambda _: False,
) -> Iterator[tuple[str, bytes | None]]:
    """Fetch the objects of a study, one by one.

    Args:
        peer: a DICOMweb service.
        study: its UID.
        modalities: of the series that are wanted; None for all.
        have: says by an object's UID that it is there already.

    Yields:
        The UID of each object, and its bytes; None where it could not be fetched.

    Raises:
        PeerError: the service cannot be reached, or does not answer well.
    """
    series = _all_pages(peer, lambda offset, web: web.search_for_series(study, offset=offset or None), _SERIES)
    for uid, one in series.items():
        if modalities is not None and _first(one, _MODALITY) not in modalities:
            continue
        for instance in _all_pages(peer, partial(_instances, study, uid), _INSTANCE):
            if not have(instance):
                yield instance, _fetched(peer, study, uid, instance)


def send_web(peer: Peer, paths: Sequence[Path]) -> Iterator[Delivery]:
    """Send files, one request each, so that what one of them meets costs none of the others.

    Raises:
        MissingExtraError: dicomweb-client is not installed.
        ConfigError: a secret or certificate cannot be read.
    """
    client = _client(peer)
    for path in paths:
        yield _send(client, peer, path)


def _send(client: "DICOMwebClient", peer: Peer, path: Path) -> Delivery:
    import requests

    try:
        with quiet():
            dataset = dcmread(path)
    except Exception:  # noqa: BLE001 - gone, or any byte can be wrong, and pydicom raises what that provokes
        return Delivery(path, "refused", "It is no DICOM file, or one that cannot be read.")
    try:
        with quiet():
            answer = client.store_instances([dataset])
            failed = list(answer.get("FailedSOPSequence") or [])
            reason = int(failed[0].get("FailureReason") or 0) if failed else 0
    except requests.HTTPError as error:
        return _judged(path, peer, 0 if error.response is None else error.response.status_code)
    except (requests.RequestException, OSError) as error:
        return Delivery(path, "later", f"{peer.host} cannot be reached ({type(error).__name__}).")
    except Exception as error:  # noqa: BLE001 - what a broken file or answer provokes costs that file only
        return Delivery(
            path, "refused", f"The file cannot be sent, or the answer not be read ({type(error).__name__})."
        )
    if not failed:
        return Delivery(path, "sent")
    said = f"{peer.host} did not store it (0x{reason:04X})."
    return Delivery(path, "later" if reason in OUT_OF_RESOURCES else "refused", said)


def _judged(path: Path, peer: Peer, code: int) -> Delivery:
    again = code in _TRY_AGAIN or code >= 500 or not code
    return Delivery(path, "later" if again else "refused", f"{peer.host} answered with HTTP status {code}.")


def _fetched(peer: Peer, study: str, series: str, instance: str) -> bytes | None:
    try:
        dataset = _asked(peer, lambda web: web.retrieve_instance(study, series, instance))
        buffer = BytesIO()
        with quiet():
            dataset.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()
    except Exception as error:  # noqa: BLE001 - whatever one object meets, the others can be fetched
        _LOG.warning("An object could not be fetched from %s (%s).", peer.host, type(error).__name__)
        return None


def _instances(study: str, series: str, offset: int, web: "DICOMwebClient") -> list[Any]:
    return web.search_for_instances(study, series, offset=offset or None)


def _all_pages(peer: Peer, page: "Callable[[int, DICOMwebClient], list[Any]]", tag: str) -> dict[str, Any]:
    """All answers by their UID. Services give so many at a time; one that knows no offset gives the same again."""
    found: dict[str, Any] = {}
    while True:
        answer = _asked(peer, partial(page, len(found)))
        new = {uid: item for item in answer if (uid := _first(item, tag)) and uid not in found}
        if not new:
            return found
        found |= new


def _asked(peer: Peer, ask: "Callable[[DICOMwebClient], Any]") -> Any:
    """Ask the service; what goes wrong is told without quoting it."""
    client = _client(peer)
    import requests

    try:
        with quiet():
            return ask(client)
    except requests.HTTPError as error:
        code = 0 if error.response is None else error.response.status_code
        raise PeerError(
            f"{peer.host} answered with HTTP status {code}.", hint="Check the address, and what metseg may do there."
        ) from None
    except (requests.RequestException, OSError) as error:
        raise PeerError(
            f"{peer.host} cannot be reached ({type(error).__name__}).", hint="Check its address and that it runs."
        ) from None
    except Exception as error:  # noqa: BLE001 - whatever the answer provokes where it is read
        raise PeerError(
            f"{peer.host} gave an answer that cannot be read ({type(error).__name__}).",
            hint="Check that the address is that of a DICOMweb service.",
        ) from None


def _client(peer: Peer) -> "DICOMwebClient":
    require("dicomweb_client", "node")
    import requests
    from dicomweb_client.web import DICOMwebClient

    session = requests.Session()
    session.trust_env = False  # no proxy and no password that a variable or a file in the home folder names
    if peer.tls_ca:
        session.verify = str(peer.tls_ca)
    if peer.tls_cert and peer.tls_key:
        session.cert = (str(peer.tls_cert), str(peer.tls_key))
    if peer.user and peer.password_file:
        session.auth = (peer.user, first_line(peer.password_file, "password file"))
    if peer.token_file:
        session.headers["Authorization"] = f"Bearer {first_line(peer.token_file, 'token file')}"
    client = DICOMwebClient(peer.address.rstrip("/"), session=session, timeout=peer.timeout_s)
    client.set_http_retry_params(retry=False)  # metseg waits by itself
    return client


def _first(item: Any, tag: str) -> str:
    """The first value of an element in the JSON model; empty where there is none."""
    try:
        return str(item[tag]["Value"][0])
    except (KeyError, IndexError, TypeError):
        return ""
