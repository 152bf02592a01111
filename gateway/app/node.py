"""A node: settings in, a running gateway out."""

from collections.abc import Callable
from datetime import datetime

from gateway import log
from gateway.app.parts import dial_settings, documents_of, open_database, utc_now
from gateway.config import Settings
from gateway.errors import StoreError
from gateway.metrics import Metrics
from gateway.net.deadline import Deadline
from gateway.net.listener import HalfOpenLimits, Listener
from gateway.planning import Planner
from gateway.scp.registry import SOPClasses
from gateway.scp.server import AssociationServer, ServerSettings
from gateway.scp.store import Store
from gateway.store.authority import StoredAuthority
from gateway.store.spool import Spool
from gateway.store.writer import Writer
from gateway.transfer.arrivals import Arrivals, recover
from gateway.transfer.cut_through import CutThrough
from gateway.transfer.deliver import ActiveSends, Deliverer
from gateway.transfer.delivery import DeliveryService
from gateway.transfer.pool import PoolSettings
from gateway.transfer.retry import RetryPolicy
from gateway.web.app import WebContext, create_app
from gateway.web.server import WebServer

ABORT_GRACE_S = 2.0
"""After the drain time: how long broken-off associations get to notice."""


class Gateway:
    """One node: DICOM listener, deliveries and REST in one process."""

    def __init__(self, settings: Settings, clock: Callable[[], datetime] = utc_now) -> None:
        """Open the stores, bring the database into line with the spool, and bind the ports.

        Raises:
            StoreError: database or spool cannot be used.
            ConnectFailed: a port cannot be bound.
        """
        self._settings = settings
        self._log = log.get(__name__)
        self._metrics = Metrics()
        self._database = open_database(settings)
        self._spool = self._open_spool()
        recover(self._spool, self._database)
        self._metrics.spool_free_bytes.set_function(self._spool.free_bytes)
        self._writer = Writer(self._database)
        self._authority = StoredAuthority(self._database, settings.consent.refresh_s, settings.consent.stale_after_s)
        planner = Planner(self._authority, clock)
        self._cut_through = CutThrough()
        self._delivery = self._delivery_service(planner, clock)
        self._authority.on_change(self._delivery.enforce)
        self._server = self._association_server(planner, clock)
        self._listener = Listener(
            settings.scp.host,
            settings.scp.port,
            self._server,
            HalfOpenLimits(settings.scp.half_open, settings.scp.half_open_per_address),
        )
        self._web = self._web_server(planner, clock) if settings.web.enabled else None

    @property
    def dicom_port(self) -> int:
        """The port DICOM peers connect to."""
        return self._listener.port

    @property
    def web_port(self) -> int | None:
        """The port of the REST interface; None when it is switched off."""
        return self._web.port if self._web else None

    def start(self) -> None:
        """Serve. Returns at once.

        Raises:
            StoreError: the database does not answer.
        """
        self._writer.start()
        self._authority.start()
        self._delivery.start()
        self._listener.start()
        if self._web:
            self._web.start()
        self._log.info("serving_dicom", host=self._settings.scp.host, port=self.dicom_port)
        if self._web:
            self._log.info("serving_rest", host=self._settings.web.host, port=self.web_port)

    def stop(self) -> None:
        """Drain, then stop: what is under way finishes or is aborted cleanly; nothing acknowledged is lost."""
        self._log.info("draining")
        deadline = Deadline.after(self._settings.scp.drain_timeout_s)
        self._listener.stop_accepting()
        self._server.drain()
        if not self._listener.join(deadline.remaining_s):
            self._server.stop()
            if not self._listener.join(ABORT_GRACE_S):
                self._server.reset()
                self._listener.join(ABORT_GRACE_S)
        if self._web:
            self._web.stop()
        self._delivery.stop(max(0.0, deadline.remaining_s))
        self._authority.stop()
        self._writer.stop()
        self._spool.close()
        self._database.close()
        self._log.info("stopped")

    def _open_spool(self) -> Spool:
        settings = self._settings.spool
        is_direct, is_synced = settings.io == "direct", settings.sync == "each"
        spool = Spool(self._settings.spool_dir, settings.free_space_floor_bytes, direct=is_direct, synced=is_synced)
        if not is_synced:
            self._log.warning("spool_not_synced")
        if is_direct and not spool.is_direct:
            self._log.info("spool_through_page_cache")
        return spool

    def _unready(self) -> list[str]:
        """Why this node should not be sent anything now; empty when it may be."""
        reasons = []
        if self._spool.failed:
            reasons.append("the spool's disk failed")
        if self._spool.free_bytes() < self._settings.spool.free_space_floor_bytes:
            reasons.append("free space in the spool is below its floor")
        try:
            self._authority.view()
        except StoreError as error:
            reasons.append(str(error))
        return reasons

    def _delivery_service(self, planner: Planner, clock: Callable[[], datetime]) -> DeliveryService:
        delivery = self._settings.delivery
        retries = RetryPolicy(delivery.attempts, delivery.first_retry_s, delivery.longest_retry_s)
        return DeliveryService(
            database=self._database,
            writer=self._writer,
            spool=self._spool,
            authority=self._authority,
            deliverer=Deliverer(
                planner, self._spool, retries, ActiveSends(), self._cut_through, self._metrics.stages, clock
            ),
            settings=PoolSettings(
                association_count=delivery.associations,
                linger_s=delivery.linger_s,
                stall_timeout_s=delivery.stall_timeout_s,
                response_timeout_s=delivery.response_timeout_s,
                dial=dial_settings(self._settings),
            ),
            retention_s=self._settings.spool.retention_s,
            metrics=self._metrics,
            clock=clock,
        )

    def _association_server(self, planner: Planner, clock: Callable[[], datetime]) -> AssociationServer:
        scp = self._settings.scp
        store = Store(
            planner=planner,
            spool=self._spool,
            arrivals=Arrivals(self._spool, self._database, self._writer, self._delivery, self._cut_through),
            metrics=self._metrics,
            clock=clock,
            instance_limit_bytes=self._settings.spool.instance_limit_bytes,
        )
        settings = ServerSettings(
            ae_title=scp.ae_title,
            maximum_length_bytes=scp.maximum_length_bytes,
            association_count=scp.associations,
            association_count_per_peer=scp.associations_per_peer,
            associate_timeout_s=scp.associate_timeout_s,
            idle_timeout_s=scp.idle_timeout_s,
            minimum_rate_bytes_per_s=scp.minimum_rate_bytes_per_s,
            minimum_rate_window_s=scp.minimum_rate_window_s,
            data_set_limit_bytes=2 * self._settings.spool.instance_limit_bytes,
        )
        sop_classes = SOPClasses(scp.private_storage_sop_classes)
        return AssociationServer(settings, self._authority, sop_classes, store, self._metrics)

    def _web_server(self, planner: Planner, clock: Callable[[], datetime]) -> WebServer:
        documents = documents_of(self._settings, self._database, self._writer, planner, self._metrics, clock)
        documents.blobs.remove_unfinished()
        context = WebContext(
            documents=documents,
            database=self._database,
            writer=self._writer,
            authority=self._authority,
            planner=planner,
            metrics=self._metrics,
            clock=clock,
            readiness=self._unready,
        )
        return WebServer(create_app(context), self._settings.web.host, self._settings.web.port)
