"""A Dockerfile as its instructions, so that tests look at, and run, what it says and not a copy of it."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKER = REPOSITORY / "docker"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction, its continuation lines joined. `stage` is the name of the build stage it is in."""

    stage: str
    name: str
    value: str

    @property
    def argv(self) -> list[str]:
        """The exec form of ENTRYPOINT, or of a health check's CMD.

        Raises:
            ValueError: it is in shell form, which puts a shell between the engine's signals and the program.
        """
        return [str(part) for part in json.loads(self.value[self.value.index("[") :])]

    @property
    def commands(self) -> list[str]:
        """The commands of a RUN, which runs them until one fails."""
        return [command.strip() for command in self.value.split("&&")]


def instructions() -> list[Instruction]:
    """The instructions of the image's Dockerfile, in order."""
    text = (DOCKER / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\s*\\\n\s*", " ", "\n".join(lines))
    stage = ""
    found = []
    for line in joined.splitlines():
        name, _, value = line.strip().partition(" ")
        if name == "FROM":
            stage = value.rpartition(" AS ")[2]
        if name:
            found.append(Instruction(stage, name, value.strip()))
    return found


def of(stage: str, name: str) -> list[Instruction]:
    """The instructions of one kind in one stage."""
    return [one for one in instructions() if (one.stage, one.name) == (stage, name)]


def environment() -> dict[str, str]:
    """What ENV sets in the image that runs."""
    pairs = (pair.partition("=") for one in of("run", "ENV") for pair in one.value.split())
    return {name: value for name, _, value in pairs}
