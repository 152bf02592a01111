"""What is counted, for Prometheus. Labels are registered names only: never a UID, a patient or a peer's free text."""

import threading
from collections.abc import Iterator
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

PREFIX = "dicom_gateway_"


class Stage(StrEnum):
    """The stages an instance goes through, in order; together they say where its time went."""

    ACCEPT = "accept"
    """From an accepted connection to the A-ASSOCIATE-AC."""
    HEAD = "head"
    """From the C-STORE request until the identifiers have come and are understood."""
    DECISION = "decision"
    """Routes, participation and consent, for all destinations."""
    SPOOL = "spool"
    """Hashing and writing, without waiting for the sender."""
    SYNC = "sync"
    """Until data, digest and decisions are on the disk."""
    QUEUE = "queue"
    """From durable until a delivery begins; a delivery that is tried again counts from when it was due."""
    NEGOTIATE = "negotiate"
    """Connecting and the A-ASSOCIATE of a delivery that needs a new association."""
    SEND = "send"
    """From the C-STORE request to the last byte written."""
    RESPONSE = "response"
    """From the last byte to the destination's status."""


class StageTimes(Collector):
    """How often each stage was gone through, and the seconds it took in all. Safe to use from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds = dict.fromkeys(Stage, 0.0)
        self._counts = dict.fromkeys(Stage, 0)

    def add(self, stage: Stage, seconds: float) -> None:
        """A stage was gone through once."""
        with self._lock:
            self._seconds[stage] += seconds
            self._counts[stage] += 1

    def collect(self) -> Iterator[CounterMetricFamily]:
        """For the registry."""
        seconds = CounterMetricFamily(PREFIX + "stage_seconds", "Seconds spent in each stage.", labels=["stage"])
        counts = CounterMetricFamily(PREFIX + "stages", "Times each stage was gone through.", labels=["stage"])
        with self._lock:
            for stage in Stage:
                seconds.add_metric([stage], self._seconds[stage])
                counts.add_metric([stage], self._counts[stage])
        yield seconds
        yield counts


class Metrics:
    """All metrics of one process, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.stages = StageTimes()
        self.registry.register(self.stages)
        self.associations = Gauge(
            PREFIX + "associations",
            "Associations open now.",
            ["direction", "ae_title"],
            registry=self.registry,
        )
        self.associations_refused = Counter(
            PREFIX + "associations_refused_total", "Associations rejected.", ["why"], registry=self.registry
        )
        self.instances_received = Counter(
            PREFIX + "instances_received_total",
            "C-STORE requests answered.",
            ["source", "result"],
            registry=self.registry,
        )
        self.received_bytes = Counter(
            PREFIX + "received_bytes_total",
            "Bytes of data sets accepted.",
            ["source"],
            registry=self.registry,
        )
        self.instances_delivered = Counter(
            PREFIX + "instances_delivered_total",
            "Delivery attempts ended, by who sent the instance in and where it goes.",
            ["source", "destination", "state"],
            registry=self.registry,
        )
        self.delivered_bytes = Counter(
            PREFIX + "delivered_bytes_total",
            "Bytes of data sets delivered, by who sent the instance in and where it went.",
            ["source", "destination"],
            registry=self.registry,
        )
        self.decisions = Counter(
            PREFIX + "consent_decisions_total",
            "Answers to: may it go?",
            ["outcome", "reason"],
            registry=self.registry,
        )
        self.documents = Counter(
            PREFIX + "documents_total", "Documents asked for.", ["action", "result"], registry=self.registry
        )
        self.spool_free_bytes = Gauge(
            PREFIX + "spool_free_bytes", "Free space where the spool is.", registry=self.registry
        )
