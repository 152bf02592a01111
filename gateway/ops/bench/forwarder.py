"""What one writes first with pynetdicom: a receiver that sends each instance on in its handler, then answers.

Runs as a process of its own, `python -m gateway.ops.bench.forwarder FOLDER TITLE PORT`: listens on a free port of this
machine, writes its number to FOLDER/port, and keeps one association to TITLE on PORT for each association it serves.
"""

import signal
import sys
from pathlib import Path
from typing import Any

from pynetdicom import AE, StoragePresentationContexts, _config, evt
from pynetdicom.association import Association
from pynetdicom.events import Event

from gateway.ops.bench.ready import announce
from gateway.ops.middleman import ADDRESS

OUT_OF_RESOURCES = 0xA700
CONTEXT_COUNT = 128


def main(folder: Path, title: str, port: int) -> None:
    """Serve until killed."""
    _config.LOG_HANDLER_LEVEL = "none"  # its log handlers cost time with logging off too
    ae = AE(ae_title="FORWARDER")
    ae.supported_contexts = StoragePresentationContexts
    ae.requested_contexts = StoragePresentationContexts[:CONTEXT_COUNT]
    outgoing: dict[Association, Association] = {}

    def opened(event: Event) -> None:
        outgoing[event.assoc] = ae.associate(ADDRESS, port, ae_title=title)

    def closed(event: Event) -> None:
        if (association := outgoing.pop(event.assoc, None)) is not None:
            association.release()

    def stored(event: Event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        status = outgoing[event.assoc].send_c_store(dataset)
        return int(status.Status) if status else OUT_OF_RESOURCES

    handlers: list[Any] = [
        (evt.EVT_ESTABLISHED, opened),
        (evt.EVT_RELEASED, closed),
        (evt.EVT_ABORTED, closed),
        (evt.EVT_C_STORE, stored),
    ]
    server: Any = ae.start_server((ADDRESS, 0), block=False, evt_handlers=handlers)
    announce(folder, server.server_address[1])
    while True:
        signal.pause()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
