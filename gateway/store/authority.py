"""The authority decisions are made from: the network and the consents, in memory, checked against the database.

The epoch is read every `refresh_s`. A view whose last check is older than `stale_after_s` is not handed out; whoever
asks checks it first, and when the database does not answer, nobody can say what holds, and nothing leaves. Together
they bound how long a withdrawal can go unnoticed.
"""

import threading
from collections.abc import Callable
from time import monotonic

from gateway import log
from gateway.consent.forms import EffectiveConsent
from gateway.domain.network import Network
from gateway.domain.person import PatientKey
from gateway.errors import DecisionUnavailable, InputError, StoreError, StoreUnavailable
from gateway.store.consents import effective_consent
from gateway.store.database import Database
from gateway.store.network import read_epoch, read_network

REMEMBERED_CONSENTS_COUNT = 100_000
"""Persons whose state is kept in one view; about 30 MB. Beyond it the view forgets and asks again."""


class StoredView:
    """The network as of one epoch, and the consents read since. A new epoch makes a new view."""

    def __init__(self, database: Database, network: Network) -> None:
        self._database = database
        self._network = network
        self._consents: dict[PatientKey, EffectiveConsent] = {}

    @property
    def network(self) -> Network:
        return self._network

    def consent(self, patient: PatientKey) -> EffectiveConsent:
        """What holds for the patient.

        Raises:
            DecisionUnavailable: the database does not answer.
        """
        known = self._consents.get(patient)
        if known is None:
            try:
                with self._database.read() as session:
                    known = effective_consent(session, patient)
            except StoreError as error:
                raise DecisionUnavailable("consents cannot be read: the database does not answer") from error
            if len(self._consents) >= REMEMBERED_CONSENTS_COUNT:
                self._consents.clear()
            self._consents[patient] = known
        return known


class StoredAuthority:
    """Keeps the view fresh on a thread of its own. `on_change` is called there after each new epoch."""

    def __init__(self, database: Database, refresh_s: float, stale_after_s: float) -> None:
        self._database = database
        self._refresh_s = refresh_s
        self._stale_after_s = stale_after_s
        self._view: StoredView | None = None
        self._checked_at = 0.0
        self._refreshing = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="authority", daemon=True)
        self._on_change: list[Callable[[], None]] = []
        self._log = log.get(__name__)

    def on_change(self, callback: Callable[[], None]) -> None:
        """Call back after each change of the network or the consents. Before `start` only."""
        self._on_change.append(callback)

    def start(self) -> None:
        """Read the first view and keep it fresh from then on.

        Raises:
            StoreError: the database does not answer.
        """
        self.refresh()
        self._thread.start()

    def view(self) -> StoredView:
        """The view, checked no longer than `stale_after_s` ago: if need be here and now, on a busy machine.

        Raises:
            DecisionUnavailable: the database does not answer.
        """
        view = self._view
        if view is None or monotonic() - self._checked_at > self._stale_after_s:
            try:
                if self._stop.is_set():
                    raise DecisionUnavailable("the gateway is stopping")
                return self.refresh()
            except StoreUnavailable as error:
                raise DecisionUnavailable(
                    "participation and consent cannot be read: the database does not answer"
                ) from error
        return view

    def refresh(self) -> StoredView:
        """Check the epoch now; read the network again when it has moved. Returns the view that holds.

        Raises:
            StoreUnavailable: the database does not answer, or holds what cannot be understood.
        """
        with self._refreshing:  # an older reading must not replace a newer one
            began_at = monotonic()
            view = self._view
            try:
                with self._database.read() as session:
                    changed = view is None or read_epoch(session) != view.network.epoch
                    if view is None or changed:
                        view = self._view = StoredView(self._database, read_network(session))
            except InputError as error:
                raise StoreUnavailable("a registered object in the database cannot be understood") from error
            self._checked_at = began_at
        if changed:
            for callback in self._on_change:
                callback()
        return view

    def stop(self) -> None:
        """Stop refreshing; the view goes stale by itself."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._refresh_s):
            try:
                self.refresh()
            except StoreError as error:
                self._log.error("authority_unreadable", error=error)
            except Exception as error:  # the outermost frame of the thread: the view goes stale until it can be read
                self._log.error("authority_failed", exc_info=error)
