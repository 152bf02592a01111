"""Commands as somebody types them: through `main`, so that the exit code is the one a shell would see."""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main

HOSPITAL_A = "1.2.410.100110.10.11111111"
HOSPITAL_B = "1.2.410.100110.10.22222222"
RESIDENT_NUMBER = "900101-1234567"
"""Of the form of a resident registration number, and nobody's."""


@dataclass(frozen=True)
class Outcome:
    """What a command did, as far as its caller can see."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def told(self) -> str:
        """The one line it told on standard error; fails when it is not one.

        Nothing else was printed, or the same as JSON.
        """
        (line,) = self.err.splitlines()
        assert self.out == "" or self.json == {"error": line, "exit_code": self.code}
        return line


class Typist:
    """Types commands in the current folder."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str | Path | int) -> Outcome:
        """Run `gateway` with these arguments. An exception that gets out of it fails the test as itself."""
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["gateway", *map(str, arguments)])
        umask = os.umask(0)
        try:
            with pytest.raises(SystemExit) as ended:
                main()
        finally:
            os.umask(umask)
        out, err = self._capsys.readouterr()
        assert "Traceback" not in out + err
        return Outcome(_code(ended.value.code), out, err)

    def done(self, *arguments: str | Path | int) -> Outcome:
        """The same for a command that has to succeed."""
        outcome = self(*arguments)
        assert (outcome.code, outcome.err) == (0, ""), outcome
        return outcome


def _code(code: object) -> int:
    assert code is None or isinstance(code, int), code
    return code or 0
