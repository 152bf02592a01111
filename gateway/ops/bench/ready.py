"""How the programs of this package tell who started them that they listen, and where: a file with the port's number."""

from pathlib import Path

PORT_FILE = "port"


def announce(folder: Path, port: int) -> None:
    """Written beside and then renamed, so that nobody reads half a number."""
    beside = folder / f"{PORT_FILE}.new"
    beside.write_text(str(port))
    beside.rename(folder / PORT_FILE)
