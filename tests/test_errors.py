"""The exception tree as its docstring draws it."""

import inspect
import re

import pytest

from gateway import errors
from gateway.errors import AssociationRejected, ConfigError, GatewayError, LimitExceeded, RemoteProtocolError

CLASSES = [value for value in vars(errors).values() if inspect.isclass(value)]


def test_every_error_is_in_the_drawing_and_the_drawing_has_no_other() -> None:
    drawn = set(re.findall(r"[├└·] ?─* ?([A-Z]\w+)", errors.__doc__ or "")) | {"GatewayError"}
    assert drawn == {error.__name__ for error in CLASSES}


@pytest.mark.parametrize("error", CLASSES)
def test_there_is_one_tree(error: type) -> None:
    assert issubclass(error, GatewayError)
    assert error.__doc__


def test_a_limit_is_answered_like_any_broken_rule() -> None:
    error = LimitExceeded("too much", 6)
    assert isinstance(error, RemoteProtocolError)
    assert (str(error), error.reason) == ("too much", 6)


def test_a_rejection_keeps_what_was_received() -> None:
    error = AssociationRejected("no", result=2, source=3, reason=2)
    assert (error.result, error.source, error.reason) == (2, 3, 2)


@pytest.mark.parametrize(
    ("file", "line", "text"),
    [("a.toml", 3, "a.toml:3: wrong"), ("a.toml", None, "a.toml: wrong"), (None, None, "wrong")],
)
def test_a_configuration_error_says_where(file: str | None, line: int | None, text: str) -> None:
    assert str(ConfigError("wrong", file, line)) == text
