"""Figures of a server for Prometheus, in a registry of its own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_DELAYS = (0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 2, 5)


class Metrics:
    """`text()` is what /metrics answers."""

    def __init__(self) -> None:
        own = self._registry = CollectorRegistry()
        self.sessions = Gauge("ditto_sessions", "Live sessions", registry=own)
        self.capacity = Gauge("ditto_sessions_limit", "Live sessions that are let in", registry=own)
        self.opened = Counter("ditto_sessions_opened", "Live sessions so far", ["transport"], registry=own)
        self.refused = Counter("ditto_refused", "Requests that were refused", ["code"], registry=own)
        self.frames = Counter("ditto_frames", "Frames that left", registry=own)
        self.dropped = Counter("ditto_pictures_dropped", "Pictures that slow clients lost", registry=own)
        self.underruns = Counter("ditto_underruns", "Blocks that came late because of the machine", registry=own)
        self.interrupts = Counter("ditto_interrupts", "Interruptions", registry=own)
        self.bad_messages = Counter("ditto_bad_messages", "Messages that were refused", registry=own)
        self.delay = Histogram(
            "ditto_turn_delay_seconds", "First sound of a turn to its first frame", buckets=_DELAYS, registry=own
        )
        self.waiting_jobs = Gauge("ditto_jobs_waiting", "Jobs that wait", registry=own)
        self.jobs = Counter("ditto_jobs", "Jobs that ended", ["status"], registry=own)

    def text(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self._registry)
