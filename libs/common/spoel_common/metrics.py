"""Metrics: every name in one place. One registry a service; labels never hold anything about a patient."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

METRICS_MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LATENCY_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """The metrics of one service.

    Attributes:
        http_requests: answers by method, route template and status.
        http_latency: time until the answer was complete, by method and route template.
        store_position: place of the newest stored event.
        relay_position: place of the newest published event.
        feed_lag: events of a feed that a projection has not applied yet.
        feed_waiting: events that a projection holds back, by kind: for an earlier one, or because they failed.
        feed_age: seconds since a feed was last known to be complete.
        broker_connected: 1 while NATS is connected.
        task_restarts: restarts of a background task.
        identity_refused: requests refused for their token, by problem.
    """

    def __init__(self, service: str) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.info = Gauge("spoel_service_info", "The service that this is.", ["service"], registry=registry)
        self.info.labels(service).set(1)
        self.http_requests = Counter(
            "spoel_http_requests", "Answers given.", ["method", "route", "status"], registry=registry
        )
        self.http_latency = Histogram(
            "spoel_http_request_duration_seconds",
            "Time until the answer was complete.",
            ["method", "route"],
            buckets=_LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.store_position = Gauge("spoel_store_position", "Place of the newest stored event.", registry=registry)
        self.relay_position = Gauge("spoel_relay_position", "Place of the newest published event.", registry=registry)
        feed = ["projection", "source"]
        self.feed_lag = Gauge("spoel_feed_lag_events", "Published, not yet applied.", feed, registry=registry)
        self.feed_waiting = Gauge(
            "spoel_feed_waiting_events", "Held back by a projection.", ["projection", "kind"], registry=registry
        )
        self.feed_age = Gauge(
            "spoel_feed_age_seconds", "Since the feed was last known to be complete.", feed, registry=registry
        )
        self.broker_connected = Gauge("spoel_broker_connected", "1 while NATS is connected.", registry=registry)
        self.task_restarts = Counter("spoel_task_restarts", "Restarts of a task.", ["task"], registry=registry)
        self.identity_refused = Counter(
            "spoel_identity_refused", "Requests refused for their token.", ["problem"], registry=registry
        )

    def render(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self.registry)
