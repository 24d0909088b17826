"""The node itself: sources, one worker, a sender for each target, and the housekeeping, until it is asked to stop."""

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from threading import Event, Thread
from time import monotonic

from metseg.core.errors import InputError, MetsegError, exit_code
from metseg.core.extras import require
from metseg.io.dimse_server import listening
from metseg.io.peers import client_context, first_line, told
from metseg.node.options import NodeOptions
from metseg.node.sender import send_for_ever
from metseg.node.sources import ask_service, look_into_folder, repeat
from metseg.node.store import GB, Job, Store, only_node
from metseg.node.worker import Segmented, StoppedError, Worker
from metseg.pipeline.dicom_outputs import DICOM_FILES

_LOG = logging.getLogger(__name__)
_STEP_S = 0.2
_HOUSEKEEPING_S = 600.0
_DAY_S = 86400.0
# In the warnings of metseg.pipeline.dicom_outputs.
_UNMADE = ("could not be made", "was not made", "was not written")
_WRONG_INPUT = exit_code(InputError(""))


def run_node(options: NodeOptions, stop: Event, *, listening_on: Callable[[int], object] = lambda _: None) -> None:
    """Run until ``stop`` is set.

    Args:
        options: all of them.
        stop: set from outside; what is going on ends, and goes on with the next run.
        listening_on: told the port, once the node listens.

    Raises:
        MetsegError: what keeps the node from starting: the store, an option, a model, the address, an extra.
    """
    _check(options)
    store = open_store(options)
    try:
        with only_node(store.folder), ExitStack() as running:
            store.sweep()
            store.recover()
            for key in store.register.drop_unknown([target.name for target in options.send]):
                store.conclude_sending(key)
            worker = Worker(options, store.results, stop)
            running.callback(worker.end)
            worker.start()
            running.enter_context(_threads(options, store, stop))
            if options.listen:
                port = running.enter_context(listening(options.listen, store.take))
                _LOG.info("Listening as %s on %s, port %d.", options.listen.aet, options.listen.host, port)
                listening_on(port)
            _segment_for_ever(options, store, worker, stop)
    except StoppedError:
        pass
    finally:
        stop.set()
        store.register.close()


def open_store(options: NodeOptions) -> Store:
    """The store that the file names.

    Raises:
        InputError: it cannot be made or opened.
    """
    return Store(options.store, max_waiting=options.max_waiting, min_free_bytes=int(options.min_free_gb * GB))


def _check(options: NodeOptions) -> None:
    """Find out before anything starts what would fail later."""
    if options.listen or any(not target.is_web for target in options.send):
        require("pynetdicom", "node")
    if options.poll or any(target.is_web for target in options.send):
        require("dicomweb_client", "node")
    for peer in (*options.send, *options.poll):
        if peer.is_secure:
            client_context(peer)
        for path, what in ((peer.password_file, "password file"), (peer.token_file, "token file")):
            if path:
                first_line(path, what)
    if options.watch and not options.watch.folder.is_dir():
        raise InputError("The watched folder is not there.", hint="Make it, or change folder in [watch].")


@contextmanager
def _threads(options: NodeOptions, store: Store, stop: Event) -> Iterator[None]:
    """A thread for each target and source, for as long as the block runs."""
    jobs: list[tuple[str, Callable[[], object]]] = [
        (f"sender {target.name}", partial(send_for_ever, store, target, stop)) for target in options.send
    ]
    if options.watch:
        watch = partial(look_into_folder, store, options.watch)
        jobs.append(("watch", partial(repeat, watch, options.watch.every_s, stop, "The watched folder")))
    for number, poll in enumerate(options.poll, 1):
        ask = partial(ask_service, store, poll)
        jobs.append((f"poll {number}", partial(repeat, ask, poll.every_s, stop, f"Service {number}")))
    threads = [Thread(target=job, name=f"metseg {name}", daemon=True) for name, job in jobs]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join(timeout=5)


def _segment_for_ever(options: NodeOptions, store: Store, worker: Worker, stop: Event) -> None:
    """One study after the other. Nothing ends this but ``stop``: what goes wrong is tried again."""
    tidy_at, interrupted = 0.0, False
    while not stop.is_set():
        try:
            if interrupted:
                store.recover()
                interrupted = False
            if monotonic() >= tidy_at:
                tidy_at = monotonic() + _HOUSEKEEPING_S
                _tidy(options, store)
            job = store.next_job(options.quiet_s) if store.has_room() else None
            if job is None:
                stop.wait(_STEP_S)
            else:
                _segment(options, store, worker, job)
        except StoppedError:
            return
        except Exception as error:  # noqa: BLE001 - a full disk under the register, say: studies wait meanwhile
            _LOG.error("Segmenting was interrupted: %s", told(error))
            interrupted = True
            stop.wait(5)


def _segment(options: NodeOptions, store: Store, worker: Worker, job: Job) -> None:
    _LOG.info("Study %s: %d images, version %d: segmenting.", job.key, len(job.files), job.version)
    try:
        segmented = worker.segment(job)
    except StoppedError:
        store.put_back(job)
        raise
    except MetsegError as error:  # the worker does not start any more: a model that is gone, say
        segmented = None
        aside = store.fail(job, told(error), final=False)
    else:
        aside = _conclude(options, store, job, segmented)
    if aside:
        row = store.register.study(job.key)
        _LOG.warning("Study %s is set aside: %s", job.key, "" if row is None else row.reason)


def _conclude(options: NodeOptions, store: Store, job: Job, segmented: Segmented | None) -> bool:
    """Write what became of a study; was it set aside?"""
    if segmented is None:
        reason = f"The process that segments died of it, or took over {options.longest_min:g} minutes."
        return store.fail(job, reason, final=False)
    outcome = segmented.outcome
    if outcome.state == "failed":
        # What is wrong with an input is so the second time too.
        final = outcome.exit_code == _WRONG_INPUT and store.has_room()
        return store.fail(job, f"{outcome.message} {outcome.hint}".strip(), final=final)
    made = [name for name in DICOM_FILES.values() if (store.results / job.case / name).is_file()]
    sends = [(name, target.name) for target in options.send for name in made if target.wants(name)]
    unmade = " ".join(warning for warning in outcome.warnings if any(words in warning for words in _UNMADE))
    if options.send and outcome.lesions and not made:
        return store.fail(job, unmade or "No DICOM object could be made.", final=True)
    store.finish(job, sends, unmade if options.send else "")
    chosen = f", series by rule {segmented.rule!r}" if segmented.rule else ""
    _LOG.info("Study %s: %s lesions in %.1f s%s.", job.key, outcome.lesions, outcome.seconds, chosen)
    return False


def _tidy(options: NodeOptions, store: Store) -> None:
    cleared = store.clear(options.keep_days * _DAY_S, options.keep_failed_days * _DAY_S)
    if cleared:
        _LOG.info("Images and results of %d studies were deleted.", cleared)
