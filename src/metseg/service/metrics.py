"""Numbers for Prometheus. No label of theirs holds an id or a name."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

Gauges = Callable[[], Mapping[str, float]]


class Metrics:
    """What is counted, and what is looked up when asked.

    Args:
        jobs: number of jobs by state.
        gauges: other values by name.
    """

    def __init__(self, jobs: Gauges, gauges: Gauges) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter("metseg_requests", "Requests.", ["method", "route", "status"], registry=self._registry)
        self._seconds = Histogram(
            "metseg_request_seconds", "Time until a response began.", ["method", "route"], registry=self._registry
        )
        self._uploaded = Counter("metseg_uploaded_bytes", "Bytes of accepted uploads.", registry=self._registry)
        self._registry.register(_Looked(jobs, gauges))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request; ``route`` is the pattern, never the path."""
        known = method if method in {"GET", "HEAD", "POST", "DELETE", "OPTIONS"} else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(known, route).observe(seconds)

    def uploaded(self, size: int) -> None:
        """Count the bytes of an upload."""
        self._uploaded.inc(size)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)


class _Looked(Collector):
    def __init__(self, jobs: Gauges, gauges: Gauges) -> None:
        self._jobs, self._gauges = jobs, gauges

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily("metseg_jobs", "Jobs by state, erased ones included.", labels=["state"])
        for state, count in self._jobs().items():
            family.add_metric([state], count)
        yield family
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(name, name.replace("_", " "), value=value)

    def describe(self) -> Iterator[Metric]:
        """Nothing: else registering would look everything up."""
        return iter(())
