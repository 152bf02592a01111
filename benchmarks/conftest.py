"""What the micro-benchmarks share: one CT slice as it comes over the wire."""

from pathlib import Path

import pytest

from gateway.ops.part10 import read_part10
from gateway.ops.phantom import CtHead, write_series


@pytest.fixture(scope="session")
def ct_slice(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The data set of a generated CT slice: 512 x 512 pixels, 0.53 MB, Explicit VR Little Endian."""
    (path,) = write_series(Path(tmp_path_factory.mktemp("ct")), CtHead(instances=1))
    file = read_part10(path)
    return path.read_bytes()[file.data_offset :]
