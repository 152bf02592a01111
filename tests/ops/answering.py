"""A peer that answers with bytes, whatever it is asked."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from gateway.domain.peer import ApplicationEntity
from tests.scp.raw import LOOPBACK


@contextmanager
def answering(*answers: bytes) -> Iterator[ApplicationEntity]:
    """A port whose owner answers whatever it gets first with each of these, then closes."""
    with socket.create_server((LOOPBACK, 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            with sock:
                for answer in answers:
                    sock.recv(65_536)
                    sock.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield ApplicationEntity("RAW", "", LOOPBACK, listener.getsockname()[1])
        thread.join()
