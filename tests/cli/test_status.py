"""`gateway status`: what is on its way to whom."""

from pathlib import Path

from gateway.app.parts import open_database, utc_now
from gateway.config import load
from gateway.domain.transfer import DeliveryOutcome, DeliveryState
from gateway.store.index import index_records
from gateway.store.queue import claim, finish
from tests.build import NOON, PACS_A, PACS_B, plan, record
from tests.cli.typed import Typist


def test_nothing_yet(registered: Typist) -> None:
    assert registered.done("status").out.startswith("Nothing has been sent through this node yet.\n")
    said = registered.done("status", "--json").json
    assert (said["destinations"], said["pairs"]) == ([], [])


def test_counts_by_destination(registered: Typist, folder: Path) -> None:
    database = open_database(load(folder / "gateway.toml", environ={}))
    with database.write() as session:
        index_records(session, [record(), record(), record(plan=plan("PACS_C"))])
    database.close()
    listed = {d["ae_title"]: d for d in registered.done("status", "--json").json["destinations"]}
    states = dict.fromkeys((state.value for state in DeliveryState), 0)
    assert listed.keys() == {PACS_B, "PACS_C"}
    assert listed[PACS_B]["deliveries"] == {**states, "QUEUED": 2}
    assert listed[PACS_B]["oldest_waiting"] == NOON.isoformat()
    header, *rows = registered.done("status").out.splitlines()
    assert len(DeliveryState) == len(header.split("Destination")[1].split("Oldest")[0].split())
    assert rows[0].split()[:3] == [PACS_B, "2", "0"]


def test_rate_of_each_pair_of_aes(registered: Typist, folder: Path) -> None:
    database = open_database(load(folder / "gateway.toml", environ={}))
    now = utc_now()
    made = [record(received_at=now) for _ in range(4)]
    with database.write() as session:
        index_records(session, made)
        (first, *_) = claim(session, PACS_B, now, 1)
        finish(session, [DeliveryOutcome(first.id, DeliveryState.COMPLETED, now, 1, 0)])
    database.close()

    (pair,) = registered.done("status", "--json").json["pairs"]
    assert (pair["calling_ae_title"], pair["destination_ae_title"], pair["waiting"]) == (PACS_A, PACS_B, 3)
    assert (pair["instances_per_s"], pair["bytes_per_s"]) == (round(1 / 60, 2), round(made[0].data_bytes / 60))
    assert [PACS_A, PACS_B, "3", "0.0", "0.0"] in [line.split() for line in registered.done("status").out.splitlines()]
