"""The moment after items were taken from a Combiner, when others who add to it can get in the way."""

import threading
from collections.abc import Callable
from typing import Any


class Taken(threading.Condition):
    """A Combiner's condition; another thread does something whenever items were taken and the lock is free again."""

    def __init__(self, then: Callable[[], None]) -> None:
        super().__init__()
        self._then = then
        self._taken = False

    def notify_all(self) -> None:
        self._taken = True
        super().notify_all()

    def __exit__(self, *error: Any) -> None:
        taken, self._taken = self._taken, False
        super().__exit__(*error)
        if taken:
            other = threading.Thread(target=self._then)
            other.start()
            other.join(30)
