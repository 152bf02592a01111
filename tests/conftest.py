"""What all tests share: the `needs` marker and the closing lines about counterparts that were missing."""

from collections import Counter

import pytest

from tests import counterparts

MISSED = pytest.StashKey[Counter[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Starts the count of tests that missed a counterpart."""
    config.stash[MISSED] = Counter()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuses a misspelt counterpart before anything runs: it would skip for ever."""
    for item in items:
        for marker in item.iter_markers("needs"):
            unknown = set(marker.args) - counterparts.PROGRAMS.keys()
            if unknown or not marker.args:
                raise pytest.UsageError(f"{item.nodeid}: needs() takes {', '.join(counterparts.PROGRAMS)}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips a test whose counterpart is missing; with REQUIRE_REAL=1 it fails."""
    needed = {name for marker in item.iter_markers("needs") for name in marker.args}
    missing = counterparts.missing(sorted(needed))
    if not missing:
        return
    item.config.stash[MISSED].update(missing)
    reason = f"missing here: {', '.join(missing)}"
    if counterparts.required():
        pytest.fail(f"{reason}, and REQUIRE_REAL=1; get it: {counterparts.HOW_TO_GET}", pytrace=False)
    pytest.skip(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says which counterparts were missing and how to get them, so that a skip is never overlooked."""
    missed = config.stash[MISSED]
    if not missed:
        return
    terminalreporter.section("missing counterparts", yellow=True)
    for name, count in sorted(missed.items()):
        done = "failed" if counterparts.required() else "not run"
        terminalreporter.line(f"{name}: {count} tests {done}; programs {', '.join(counterparts.PROGRAMS[name])}")
    terminalreporter.line(f"get them: {counterparts.HOW_TO_GET}")
