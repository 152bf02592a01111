"""What is counted, for Prometheus. Labels are registered names only: never a UID, a patient or a peer's free text."""

from prometheus_client import CollectorRegistry, Counter, Gauge

PREFIX = "dicom_gateway_"


class Metrics:
    """All metrics of one process, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
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
            "Delivery attempts ended.",
            ["destination", "state"],
            registry=self.registry,
        )
        self.delivered_bytes = Counter(
            PREFIX + "delivered_bytes_total",
            "Bytes of data sets delivered.",
            ["destination"],
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
