"""What is counted."""

import threading

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.metrics import PREFIX, Metrics, Stage


def samples(metrics: Metrics) -> dict[tuple[str, tuple[str, ...]], float]:
    """What a Prometheus would read: values by name and labels."""
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {
        (sample.name.removeprefix(PREFIX), tuple(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


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


def test_deliveries_are_counted_by_pair() -> None:
    metrics = Metrics()

    metrics.instances_delivered.labels(source="A", destination="B", state="COMPLETED").inc()
    metrics.instances_delivered.labels(source="C", destination="B", state="COMPLETED").inc(2)
    metrics.delivered_bytes.labels(source="A", destination="B").inc(100)

    found = samples(metrics)
    delivered = {labels: value for (name, labels), value in found.items() if name == "instances_delivered_total"}
    assert {frozenset(labels): value for labels, value in delivered.items()} == {
        frozenset({"A", "B", "COMPLETED"}): 1,
        frozenset({"C", "B", "COMPLETED"}): 2,
    }
    assert [value for (name, _), value in found.items() if name == "delivered_bytes_total"] == [100]


def test_stages_are_all_there_from_the_beginning() -> None:
    """So that a rate over them is never a gap."""
    found = samples(Metrics())

    for stage in Stage:
        assert found["stages_total", (stage.value,)] == found["stage_seconds_total", (stage.value,)] == 0


def test_stages_add_up() -> None:
    metrics = Metrics()

    metrics.stages.add(Stage.SPOOL, 0.25)
    metrics.stages.add(Stage.SPOOL, 0.5)
    metrics.stages.add(Stage.SEND, 1.0)

    found = samples(metrics)
    assert (found["stages_total", ("spool",)], found["stage_seconds_total", ("spool",)]) == (2, 0.75)
    assert (found["stages_total", ("send",)], found["stage_seconds_total", ("send",)]) == (1, 1)
    assert found["stages_total", ("sync",)] == 0


def test_no_stage_is_lost_among_threads() -> None:
    metrics = Metrics()
    start = threading.Barrier(4)

    def add() -> None:
        start.wait()
        for _ in range(2000):
            metrics.stages.add(Stage.SYNC, 0.5)

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = samples(metrics)
    assert (found["stages_total", ("sync",)], found["stage_seconds_total", ("sync",)]) == (8000, 4000)
