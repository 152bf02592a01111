"""The gateway over an emulated distance: what is measured, in which order, and that nothing gets lost on the way."""

from pathlib import Path

from gateway.ops.bench.link import Link
from gateway.ops.bench.result import Way
from gateway.ops.bench.runner import Silent
from gateway.ops.bench.wan import Plan, run, words
from gateway.ops.bench.workload import WORKLOADS

SMALL = WORKLOADS["small"]


def test_more_associations_get_more_instances() -> None:
    plan = Plan(SMALL)

    assert [plan.instances(count) for count in (1, 4, 8, 32)] == [100, 100, 160, 640]
    assert Plan(SMALL, scale=0.001).instances(1) == 1


def test_every_link_and_number_in_every_round() -> None:
    near, far = Link(), Link(0.05)
    plan = Plan(SMALL, (near, far), (1, 4), rounds=2)

    assert list(plan.transfers()) == [
        *((1, near, 1), (1, near, 4), (1, far, 1), (1, far, 4)),
        *((2, near, 1), (2, near, 4), (2, far, 1), (2, far, 4)),
    ]


def test_a_lossy_link_loses_nothing(tmp_path: Path) -> None:
    link = Link(0.004, 20e6, loss=0.005)
    result = run(Plan(SMALL, (link,), (3,), scale=0.1), "gateway bench wan", tmp_path, Silent())

    (sample,) = result.samples
    assert (sample.way, sample.link, sample.variant) == (Way.GATEWAY, str(link), "3 associations")
    assert (sample.instances, sample.lost_count, sample.duplicated_count) == (10, 0, 0)
    assert sample.first_instance_s is not None
    assert sample.delivered_s is not None
    assert link.one_way_s < sample.first_instance_s < sample.delivered_s
    assert result.remarks[0].startswith("small over 4 ms, 160 Mbit/s, 0.5 % loss: delivery.associations = 3 ")
    assert list(tmp_path.iterdir()) == []


def test_words() -> None:
    assert (words(1), words(2)) == ("1 association", "2 associations")
