"""What is counted."""

from prometheus_client import generate_latest

from gateway.metrics import PREFIX, Metrics


def test_all_metrics_carry_the_products_prefix() -> None:
    names = {family.name for family in Metrics().registry.collect()}

    assert names
    assert {name for name in names if not name.startswith(PREFIX)} == set()


def test_labels_are_registered_names_only() -> None:
    labels = {label for metric in vars(Metrics()).values() for label in getattr(metric, "_labelnames", ())}

    assert labels <= {"direction", "ae_title", "why", "source", "result", "destination", "state", "outcome", "reason",
                      "action"}  # fmt: skip


def test_two_nodes_in_one_process_count_for_themselves() -> None:
    one, other = Metrics(), Metrics()

    one.instances_received.labels("PACS_A", "stored").inc()

    line = f'{PREFIX}instances_received_total{{result="stored",source="PACS_A"}} 1.0'
    assert line in generate_latest(one.registry).decode()
    assert line not in generate_latest(other.registry).decode()
