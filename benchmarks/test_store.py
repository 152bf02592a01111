"""What keeping an instance costs: its digest, its spool record with the sync, and its rows in the ledger."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from gateway.domain.transfer import Delivery, DeliveryOutcome, DeliveryState, SpoolRecord
from gateway.store.database import Database
from gateway.store.index import index_records
from gateway.store.queue import claim, finish
from gateway.store.spool import Spool
from tests.build import NOON, PACS_B, head, node_database, record, spooled

BATCH_COUNT = 64
"""Instances in one transaction, as when a study arrives fast."""
ROUNDS_COUNT = 30
"""Batches measured: each needs records that are not in the ledger yet."""
FRAGMENT_BYTES = 16 * 1024


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with node_database(tmp_path) as made:
        yield made


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path / "spool", 0)
    yield made
    made.close()


def records() -> list[SpoolRecord]:
    """A batch of instances of one study."""
    study_instance_uid = head().study_instance_uid
    return [record(head=head(study_instance_uid=study_instance_uid)) for _ in range(BATCH_COUNT)]


def indexed(database: Database, batch: list[SpoolRecord]) -> int:
    with database.write() as session:
        return len(index_records(session, batch))


def claimed(database: Database) -> list[Delivery]:
    with database.write() as session:
        return claim(session, PACS_B, NOON, BATCH_COUNT)


def finished(database: Database, deliveries: list[Delivery]) -> int:
    outcomes = [DeliveryOutcome(delivery.id, DeliveryState.COMPLETED, NOON, 1, 0) for delivery in deliveries]
    with database.write() as session:
        return len(finish(session, outcomes))


def test_index_a_batch(benchmark: BenchmarkFixture, database: Database) -> None:
    def batch() -> tuple[tuple[Database, list[SpoolRecord]], dict[str, object]]:
        return (database, records()), {}

    assert benchmark.pedantic(indexed, setup=batch, rounds=ROUNDS_COUNT) == BATCH_COUNT
    assert len(claimed(database)) == BATCH_COUNT


def test_claim_and_finish_a_batch(benchmark: BenchmarkFixture, database: Database) -> None:
    def batch() -> None:
        indexed(database, records())

    def claimed_and_finished() -> int:
        return finished(database, claimed(database))

    assert benchmark.pedantic(claimed_and_finished, setup=batch, rounds=ROUNDS_COUNT) == BATCH_COUNT


def test_digest(benchmark: BenchmarkFixture, ct_slice: bytes) -> None:
    view = memoryview(ct_slice)
    fragments = [view[start : start + FRAGMENT_BYTES] for start in range(0, len(view), FRAGMENT_BYTES)]

    def digest() -> str:
        made = sha256()
        for fragment in fragments:
            made.update(fragment)
        return made.hexdigest()

    assert benchmark(digest) == sha256(ct_slice).hexdigest()


def test_spool_record(benchmark: BenchmarkFixture, spool: Spool, ct_slice: bytes) -> None:
    written = benchmark.pedantic(spooled, (spool, ct_slice), rounds=ROUNDS_COUNT)

    with spool.open(written.record_id) as reader:
        assert reader.verify() == written
