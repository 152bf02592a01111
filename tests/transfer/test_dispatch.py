"""Which delivery goes next."""

from collections import Counter
from copy import deepcopy

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from gateway.domain.transfer import Delivery, DeliveryId
from gateway.transfer.dispatch import REMEMBERED_STUDIES_COUNT, Dispatch
from tests.build import delivery


def of_study(study: str, *numbers: int) -> list[Delivery]:
    return [delivery(record_id=f"{number:032x}", study_instance_uid=study) for number in numbers]


def test_first_of_a_study_goes_alone_and_the_rest_fans_out() -> None:
    dispatch = Dispatch()
    first, second, third = of_study("1.1", 1, 2, 3)
    dispatch.add([first, second, third])

    assert dispatch.next() == first
    assert dispatch.next() is None

    dispatch.finished(first, delivered=True)
    assert (dispatch.next(), dispatch.next(), dispatch.next()) == (second, third, None)


def test_another_goes_first_when_the_first_failed() -> None:
    dispatch = Dispatch()
    first, second, third = of_study("1.1", 1, 2, 3)
    dispatch.add([first, second, third])
    dispatch.next()

    dispatch.finished(first, delivered=False)

    assert dispatch.next() == second
    assert dispatch.next() is None


def test_other_studies_do_not_wait() -> None:
    dispatch = Dispatch()
    one, two = of_study("1.1", 1, 2), of_study("1.2", 3, 4)
    dispatch.add([*one, *two])

    assert (dispatch.next(), dispatch.next(), dispatch.next()) == (one[0], two[0], None)


def test_failure_of_a_later_one_holds_nobody_back() -> None:
    dispatch = Dispatch()
    first, second, third, fourth = of_study("1.1", 1, 2, 3, 4)
    dispatch.add([first, second, third, fourth])
    dispatch.next()
    dispatch.finished(first, delivered=True)
    dispatch.next()

    dispatch.finished(second, delivered=False)

    assert (dispatch.next(), dispatch.next()) == (third, fourth)


def test_study_that_began_long_ago_starts_alone_again() -> None:
    dispatch = Dispatch()
    for number in range(REMEMBERED_STUDIES_COUNT + 1):
        (first,) = of_study(f"1.{number}", number)
        dispatch.add([first])
        assert dispatch.next() == first
        dispatch.finished(first, delivered=True)
    forgotten, remembered = of_study("1.0", 9001, 9002), of_study("1.1", 9003, 9004)

    dispatch.add([*forgotten, *remembered])

    assert (dispatch.next(), dispatch.next(), dispatch.next()) == (forgotten[0], *remembered)
    assert dispatch.next() is None


def test_what_waits_can_be_taken_back() -> None:
    dispatch = Dispatch()
    first, second, third = of_study("1.1", 1, 2, 3)
    dispatch.add([first, second, third])
    dispatch.next()

    assert len(dispatch) == 2
    assert dispatch.give_up() == [second, third]
    assert len(dispatch) == 0
    dispatch.finished(first, delivered=True)
    assert dispatch.next() is None


class DispatchMachine(RuleBasedStateMachine):
    """Deliveries come, go and end in any order; none is lost or handed out twice."""

    under_way = Bundle("under_way")

    def __init__(self) -> None:
        super().__init__()
        self.dispatch = Dispatch()
        self.added: Counter[DeliveryId] = Counter()
        self.handed_out: Counter[DeliveryId] = Counter()
        self.active: dict[str, set[DeliveryId]] = {}
        self.begun: set[str] = set()

    @rule(study=st.sampled_from(["1.1", "1.2", "1.3"]), count=st.integers(1, 4))
    def add(self, study: str, count: int) -> None:
        numbers = range(self.added.total() + 1, self.added.total() + 1 + count)
        added = of_study(study, *numbers)
        self.added.update(each.id for each in added)
        self.dispatch.add(added)

    @rule(target=under_way)
    def take(self) -> Delivery | None:
        taken = self.dispatch.next()
        if taken is not None:
            active = self.active.setdefault(taken.study_instance_uid, set())
            if taken.study_instance_uid not in self.begun:
                assert not active, "two firsts of a study at once"
            active.add(taken.id)
            self.handed_out[taken.id] += 1
        return taken

    @rule(ended=consumes(under_way), delivered=st.booleans())
    def finish(self, ended: Delivery | None, delivered: bool) -> None:
        if ended is None:
            return
        self.active[ended.study_instance_uid].discard(ended.id)
        if delivered:
            self.begun.add(ended.study_instance_uid)
        self.dispatch.finished(ended, delivered=delivered)

    @rule()
    def give_up(self) -> None:
        self.handed_out.update(given.id for given in self.dispatch.give_up())

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert all(count == 1 for count in self.handed_out.values())
        assert self.handed_out.total() + len(self.dispatch) == self.added.total()

    @invariant()
    def as_many_may_go_as_are_handed_out(self) -> None:
        ready_count = self.dispatch.ready_count
        copy = deepcopy(self.dispatch)
        handed_out = 0
        while copy.next():
            handed_out += 1
        assert handed_out == ready_count

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        """When nothing is under way, something may go."""
        if len(self.dispatch) and not any(self.active.values()):
            taken = self.dispatch.next()
            assert taken is not None
            self.dispatch.add([taken])
            self.dispatch.finished(taken, delivered=False)

    def teardown(self) -> None:
        given = [each.id for each in self.dispatch.give_up()]
        assert self.handed_out.total() + len(given) == self.added.total()
        assert set(self.handed_out) | set(given) == set(self.added)


DispatchMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40)
TestDispatch = DispatchMachine.TestCase
