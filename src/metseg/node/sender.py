"""Send results to a target, and again with growing waits where it cannot take them now."""

import logging
from threading import Event
from time import time

from metseg.core.errors import ConfigError, MissingExtraError
from metseg.io.peers import Delivery, told
from metseg.io.transfer import send_files
from metseg.node.options import Target
from metseg.node.register import ObjectRow
from metseg.node.store import Store

_LOG = logging.getLogger(__name__)
_STEP_S = 0.3


def send_for_ever(store: Store, target: Target, stop: Event) -> None:
    """Send whatever is due to a target until the node stops. Nothing ends this but ``stop``."""
    while not stop.wait(_STEP_S):
        try:
            while send_due(store, target) and not stop.is_set():
                pass
        except Exception as error:  # noqa: BLE001 - a full disk under the register, say: what is due stays due
            _LOG.error("Sending to %s was interrupted: %s", target.name, told(error))
            stop.wait(target.first_wait_s)


def send_due(store: Store, target: Target) -> bool:
    """Send what is due of one study; False: nothing was."""
    rows = store.register.due(target.name, time())
    if not rows:
        return False
    folder = store.results / f"{rows[0].key}-v{rows[0].version}"
    by_path = {folder / row.name: row for row in rows}

    def note(delivery: Delivery) -> None:
        _settle(store, target, by_path[delivery.path], delivery)

    try:
        send_files(target, list(by_path), note)
    except (ConfigError, MissingExtraError) as error:
        for path in by_path:  # a certificate is gone, say: it can be mended while the node runs
            note(Delivery(path, "later", told(error)))
    ended = store.conclude_sending(rows[0].key)
    if ended is not None:
        _LOG.info("Study %s: %s%s", ended.key, ended.state, f", {ended.reason}" if ended.reason else "")
    return True


def _settle(store: Store, target: Target, row: ObjectRow, delivery: Delivery) -> None:
    tries, now = row.tries + 1, time()
    wait_s, reason = target.wait_s(tries), delivery.reason
    if delivery.state == "later" and now + wait_s - row.queued <= target.give_up_h * 3600:
        store.register.settle(row, "queued", tries=tries, due=now + wait_s, reason=reason)
        _LOG.warning("Study %s: %s to %s again in %.0f s: %s", row.key, row.name, target.name, wait_s, reason)
        return
    if delivery.state == "later":
        reason = f"Given up after {tries} tries. {reason}"
    state = "sent" if delivery.state == "sent" else "refused"
    store.register.settle(row, state, tries=tries, due=now, reason=reason)
    level = logging.INFO if state == "sent" else logging.WARNING
    said = f": {reason}" if reason else ""
    _LOG.log(level, "Study %s: %s to %s %s%s", row.key, row.name, target.name, state, said)
