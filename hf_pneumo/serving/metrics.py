"""What a node has done, as Prometheus reads it at /metrics, and whether it is well, at /healthz."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, Counter, Histogram, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily

SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)  # upper bounds of the histogram's buckets


class Metrics:
    """Counts of one node, in a registry of its own. No label holds anything that identifies a person."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._received = self._counter("received", "objects that were queued", "source")
        self._repeated = self._counter("repeated", "objects that had been queued or judged before", "source")
        self._refused = self._counter("refused", "objects and associations that were not accepted", "reason")
        self._judged = self._counter("judged", "films with a verdict", "verdict")
        self._not_judged = self._counter("not_judged", "films that are no upright frontal chest films", "reason")
        self._passed_over = self._counter("passed_over", "objects that are not for the judge", "reason")
        self._failed = self._counter("failed", "films and results that need a person", "reason")
        self._sent = self._counter("sent", "results that have reached a peer", "peer")
        self._retried = self._counter("retried", "attempts to reach a peer that will be repeated", "peer")
        self._seconds = Histogram(
            "hf_pneumo_judge_seconds",
            "from taking a film to its results on disk",
            buckets=SECONDS,
            registry=self.registry,
        )

    def _counter(self, name: str, does: str, label: str) -> Counter:
        return Counter(f"hf_pneumo_{name}", does, [label], registry=self.registry)

    def received(self, source: str) -> None:
        """An object was queued; ``source``: the calling AE title, or "folder"."""
        self._received.labels(source).inc()

    def repeated(self, source: str) -> None:
        """An object that the spool knew."""
        self._repeated.labels(source).inc()

    def refused(self, reason: str) -> None:
        """An object or an association was not accepted."""
        self._refused.labels(reason).inc()

    def judged(self, verdict: str) -> None:
        """A film has a verdict."""
        self._judged.labels(verdict).inc()

    def not_judged(self, reason: str) -> None:
        """A film that is no upright frontal chest film."""
        self._not_judged.labels(reason).inc()

    def passed_over(self, reason: str) -> None:
        """An object that is not for the judge."""
        self._passed_over.labels(reason).inc()

    def failed(self, reason: str) -> None:
        """A film or a result that needs a person."""
        self._failed.labels(reason).inc()

    def sent(self, peer: str) -> None:
        """A result has reached a peer."""
        self._sent.labels(peer).inc()

    def retried(self, peer: str) -> None:
        """An attempt that will be repeated."""
        self._retried.labels(peer).inc()

    def took(self, seconds: float) -> None:
        """How long a film took."""
        self._seconds.observe(seconds)

    def watch_queue(self, lengths: Callable[[], Mapping[str, int]], held_bytes: Callable[[], int]) -> None:
        """Show the length of each queue, and the bytes of the spool, as they are when they are asked for."""
        self.registry.register(_Queue(lengths, held_bytes))

    def value(self, name: str, **labels: str) -> float:
        """A sample's value, 0 where nothing was counted yet; such as ``value("received_total", source="PACS")``."""
        return self.registry.get_sample_value(f"hf_pneumo_{name}", labels) or 0.0

    def total(self, name: str) -> float:
        """The sum of a counter over its label."""
        families = (family for family in self.registry.collect() if family.name == f"hf_pneumo_{name}")
        return sum(s.value for family in families for s in family.samples if s.name.endswith("_total"))


class _Queue:
    """A collector of Prometheus' client."""

    def __init__(self, lengths: Callable[[], Mapping[str, int]], held_bytes: Callable[[], int]):
        self.lengths, self.held_bytes = lengths, held_bytes

    def collect(self) -> Iterable[GaugeMetricFamily]:
        films = GaugeMetricFamily("hf_pneumo_queue", "films, or results of films, in a folder", labels=["folder"])
        for folder, length in self.lengths().items():
            films.add_metric([folder], length)
        yield films
        yield GaugeMetricFamily("hf_pneumo_spool_bytes", "bytes of films in the spool", value=self.held_bytes())


class MetricsServer:
    """Answers /metrics and /healthz over HTTP, in a thread, until :meth:`stop`.

    ``trouble``: returns why the node is not well, or "" while it is; then /healthz answers 503 with that sentence.
    """

    def __init__(self, metrics: Metrics, trouble: Callable[[], str], *, host: str = "127.0.0.1", port: int = 0):
        self._metrics_app, self._trouble = make_wsgi_app(metrics.registry), trouble
        self._server = make_server(host, port, self._answer, server_class=_Server, handler_class=_Handler)
        self.port: int = self._server.server_port

    def start(self) -> None:
        """Begin to answer."""
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """End."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        place = environ.get("PATH_INFO", "")
        if place == "/metrics":
            return self._metrics_app(environ, start_response)
        trouble = self._trouble() if place == "/healthz" else ""
        status = ("503 Service Unavailable" if trouble else "200 OK") if place == "/healthz" else "404 Not Found"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [f"{trouble or ('ok' if place == '/healthz' else 'ask for /metrics or /healthz')}\n".encode()]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Handler(WSGIRequestHandler):
    timeout = 10  # seconds that a client may keep a connection without asking

    def log_message(self, format: str, *args: object) -> None:
        """Every scrape would be a line."""
