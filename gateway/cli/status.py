"""`gateway status`: what is on its way to whom."""

import shutil
from collections.abc import Sequence

from gateway.app.parts import utc_now
from gateway.cli.common import DEFAULT_FILE, ConfigOption, JsonOption, dump, node, say, show
from gateway.domain.transfer import DeliveryState
from gateway.store.status import DestinationStatus, PairStatus, destination_statuses, pair_statuses


def status_command(config: ConfigOption = DEFAULT_FILE, json: JsonOption = False) -> None:
    """What is on its way to whom, from the ledger; works whether the node runs or not."""
    with node(config) as (settings, database), database.read() as session:
        destinations = destination_statuses(session)
        pairs = pair_statuses(session, utc_now())
        folder = settings.spool_dir if settings.spool_dir.exists() else settings.node.state_dir
        free_bytes = shutil.disk_usage(folder).free
    if json:
        dump(
            {
                "spool_free_bytes": free_bytes,
                "destinations": [_destination_fields(destination) for destination in destinations],
                "pairs": [_pair_fields(pair) for pair in pairs],
            }
        )
        return
    _show_destinations(destinations)
    if pairs:
        say("")
        _show_pairs(pairs)
    say(f"Free space for the spool: {free_bytes / 2**30:.1f} GiB")


def _destination_fields(destination: DestinationStatus) -> dict[str, object]:
    return {
        "ae_title": destination.destination_ae_title,
        "deliveries": {state.value: destination.counts.get(state, 0) for state in DeliveryState},
        "oldest_waiting": destination.oldest_waiting.isoformat() if destination.oldest_waiting else None,
        "latest_detail": destination.latest_detail,
    }


def _pair_fields(pair: PairStatus) -> dict[str, object]:
    return {
        "calling_ae_title": pair.calling_ae_title,
        "destination_ae_title": pair.destination_ae_title,
        "waiting": pair.waiting_count,
        "instances_per_s": round(pair.instances_per_s, 2),
        "bytes_per_s": round(pair.bytes_per_s),
    }


def _show_destinations(destinations: Sequence[DestinationStatus]) -> None:
    columns = (
        "Destination",
        "Queued",
        "Active",
        "Completed",
        "Failed",
        "Blocked",
        "Oldest waiting",
        "Latest trouble",
    )
    rows = [
        (
            each.destination_ae_title,
            *(each.counts.get(state, 0) for state in DeliveryState),
            each.oldest_waiting.isoformat(timespec="seconds") if each.oldest_waiting else "",
            each.latest_detail,
        )
        for each in destinations
    ]
    show(columns, rows, empty="Nothing has been sent through this node yet.")


def _show_pairs(pairs: Sequence[PairStatus]) -> None:
    columns = ("From", "To", "Waiting", "Images/s in the last minute", "MB/s")
    rows = [
        (
            pair.calling_ae_title,
            pair.destination_ae_title,
            pair.waiting_count,
            f"{pair.instances_per_s:.1f}",
            f"{pair.bytes_per_s / 1e6:.1f}",
        )
        for pair in pairs
    ]
    show(columns, rows, empty="")
