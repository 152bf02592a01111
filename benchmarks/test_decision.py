"""What a decision costs: the first one of a study, and those that are asked again for each of its instances."""

from itertools import count

from pytest_benchmark.fixture import BenchmarkFixture

from gateway.domain.transfer import Plan
from gateway.planning import Planner
from tests.build import HOSPITAL_A, NOON, PACS_A, PATIENT, Registry, ae, head

SENDER = ae(PACS_A, HOSPITAL_A)


def test_plan_of_a_known_study(benchmark: BenchmarkFixture) -> None:
    planner = Planner(Registry(), lambda: NOON)
    instance = head(patient=PATIENT)

    assert benchmark(planner.plan, instance, SENDER, "GATEWAY").permitted


def test_plan_of_a_new_study(benchmark: BenchmarkFixture) -> None:
    planner = Planner(Registry(), lambda: NOON)
    numbers = count()

    def planned() -> Plan:
        return planner.plan(head(study_instance_uid=f"1.2.3.{next(numbers)}"), SENDER, "GATEWAY")

    assert benchmark(planned).permitted
