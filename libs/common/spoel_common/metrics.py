"""Metrics: every name in one place. One registry a service; labels never hold anything about a patient.

``docs/metrics.md`` is generated from here.
"""

from collections import defaultdict
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LATENCY_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Description(NamedTuple):
    """What a metric is: its name as it is shown, its type, the names of its labels, and what it says."""

    name: str
    type: str
    labels: tuple[str, ...]
    text: str


class Followed:
    """A counter that follows a total which somebody else keeps.

    Args:
        counter: what is shown.
    """

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self._shown: defaultdict[tuple[str, ...], int] = defaultdict(int)

    def follow(self, total: int, *labels: str) -> None:
        """Bring the counter with these labels up to ``total``."""
        counter = self._counter.labels(*labels) if labels else self._counter
        counter.inc(max(0, total - self._shown[labels]))
        self._shown[labels] = total


class Metrics:
    """The metrics of one service; what each says stands in its own text.

    Those that are not counted where it happens are brought up to date by ``Runtime.observe`` when they are asked for.

    Attributes:
        described: every metric there is.
    """

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        self.described: list[Description] = []
        self.info = self._gauge("spoel_service_info", "1; the service that this is.", "service")
        self.info.labels(service).set(1)
        self.http_requests = self._counter("spoel_http_requests", "Answers given.", "method", "route", "status")
        self.http_latency = self._histogram(
            "spoel_http_request_duration_seconds",
            "Time until the answer was complete; not of event streams.",
            "method",
            "route",
        )
        self.identity_refused = self._counter(
            "spoel_identity_refused", "Requests refused for their token, by kind of problem.", "problem"
        )
        self.idempotency_replays = self._counter(
            "spoel_idempotency_replays", "Commands that were repeated and got the answer of the first."
        )
        self.task_restarts = self._counter("spoel_task_restarts", "Restarts of a background task.", "task")
        self.broker_connected = self._gauge("spoel_broker_connected", "1 while NATS is connected.")
        self.store_position = self._gauge("spoel_store_position", "Place of the newest stored event.")
        self.appended = self._counter("spoel_store_appended_events", "Events that this process stored.")
        self.relay_position = self._gauge("spoel_relay_position", "Place of the newest published event.")
        self.relay_lag = self._gauge(
            "spoel_relay_lag_events",
            "Places between the newest stored and the newest published event; rolled back appends leave places empty.",
        )
        self.relay_events = Followed(
            self._counter("spoel_relay_published_events", "Events that the relay of this process published.")
        )
        self.relay_batches = Followed(
            self._counter("spoel_relay_published_batches", "Batches that the relay of this process published.")
        )
        self.relay_failures = Followed(
            self._counter("spoel_relay_failures", "Times that the relay of this process broke off, to try again.")
        )
        feed = ("projection", "source")
        self.feed_lag = self._gauge("spoel_feed_lag_events", "Published, not yet taken in.", *feed)
        self.feed_age = self._gauge(
            "spoel_feed_age_seconds", "Since the feed was last known to be complete; 1e9 for never.", *feed
        )
        self.feed_waiting = self._gauge(
            "spoel_feed_waiting_events",
            "Events that a projection keeps aside, by kind: gap, retry, behind, parked.",
            "projection",
            "kind",
        )
        self.feed_problems = self._gauge(
            "spoel_feed_problems", "Feeds of a projection that are stopped or cannot be read.", "projection"
        )
        self.consumed = Followed(
            self._counter(
                "spoel_consumer_events",
                "Events by what the consumer of this process did: applied, skipped (not read here), dropped (applied "
                "before), redelivered, alarms (other bytes than before), gaps (came too early), holes (missing in the "
                "stream), failed, parked.",
                "projection",
                "kind",
            )
        )

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        self.described.append(Description(name, "gauge", labels, text))
        return Gauge(name, text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        self.described.append(Description(f"{name}_total", "counter", labels, text))
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        self.described.append(Description(name, "histogram", labels, text))
        return Histogram(name, text, labels, buckets=_LATENCY_BUCKETS_S, registry=self.registry)

    def render(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)
