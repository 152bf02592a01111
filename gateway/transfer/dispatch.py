"""Which of a destination's claimed deliveries goes next. Pure; the pool that owns it does the locking.

The first instance of a study goes alone and the rest fans out when it has arrived: parallel firsts make some
archives create the same patient twice.
"""

from collections import deque
from collections.abc import Sequence

from gateway.domain.transfer import Delivery, DeliveryId

REMEMBERED_STUDIES_COUNT = 1000
"""Studies known to have begun at the destination; a forgotten one merely starts alone again."""


class Dispatch:
    """Deliveries waiting in memory, handed out one at a time."""

    def __init__(self) -> None:
        self._waiting: deque[Delivery] = deque()
        self._begun: dict[str, None] = {}
        self._beginning: dict[str, DeliveryId] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def ready_count(self) -> int:
        """How many of those waiting may go now."""
        studies = [each.study_instance_uid for each in self._waiting if each.study_instance_uid not in self._beginning]
        begun_count = sum(study in self._begun for study in studies)
        return begun_count + len(set(studies) - self._begun.keys())

    def add(self, deliveries: Sequence[Delivery]) -> None:
        self._waiting.extend(deliveries)

    def next(self) -> Delivery | None:
        """The oldest delivery that may go now; None when all waiting ones wait for the first of their study."""
        for index, delivery in enumerate(self._waiting):
            study = delivery.study_instance_uid
            if study in self._beginning:
                continue
            del self._waiting[index]
            if study not in self._begun:
                self._beginning[study] = delivery.id
            return delivery
        return None

    def finished(self, delivery: Delivery, *, delivered: bool) -> bool:
        """An attempt ended; whether others waited for it. When a study's first failed, another one goes first."""
        study = delivery.study_instance_uid
        was_awaited = self._beginning.get(study) == delivery.id
        if was_awaited:
            del self._beginning[study]
        if delivered:
            self._begun.pop(study, None)
            self._begun[study] = None
            if len(self._begun) > REMEMBERED_STUDIES_COUNT:
                self._begun.pop(next(iter(self._begun)))
        return was_awaited

    def give_up(self) -> list[Delivery]:
        """Take everything that waits, to queue it again."""
        waiting = list(self._waiting)
        self._waiting.clear()
        return waiting
