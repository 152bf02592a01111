"""A plain relay of bytes, TCP_NODELAY and TCP_QUICKACK on both sides: the upper bound for anything between two systems.

Runs as a process of its own, `python -m gateway.ops.bench.relay FOLDER PORT`: listens on a free port of this machine,
writes its number to FOLDER/port, and passes everything on to PORT.
"""

import signal
import socket
import sys
import threading
from contextlib import suppress
from pathlib import Path

from gateway.ops.bench.ready import announce
from gateway.ops.middleman import ADDRESS

BUFFER_BYTES = 256 * 1024


def relay(source: socket.socket, target: socket.socket) -> None:
    """Pass on what comes until it ends, then the end."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    try:
        while count := source.recv_into(buffer):
            source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
            target.sendall(buffer[:count])
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for sock in (source, target):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def serve(caller: socket.socket, target_port: int) -> None:
    """One connection, both ways, to its end."""
    with caller, suppress(OSError), socket.create_connection((ADDRESS, target_port)) as called:
        for sock in (caller, called):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        back = threading.Thread(target=relay, args=(called, caller), daemon=True)
        back.start()
        relay(caller, called)
        back.join()


def main(folder: Path, target_port: int) -> None:
    """Serve until SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with socket.create_server((ADDRESS, 0)) as listening:
        announce(folder, listening.getsockname()[1])
        while True:
            caller, _ = listening.accept()
            threading.Thread(target=serve, args=(caller, target_port), daemon=True).start()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
