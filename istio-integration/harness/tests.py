"""The list of tests: `@test` in a file below `suite/` puts one on it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .lab import Lab


@dataclass
class Test:
    """One test and its first line of documentation."""

    body: Callable[[Lab], None]
    about: str


TESTS: dict[str, Test] = {}


def test(body: Callable[[Lab], None]) -> Callable[[Lab], None]:
    """Registers a test. It gets the lab and fails by raising."""
    name = f"{body.__module__.removeprefix('suite.')}.{body.__name__}"
    TESTS[name] = Test(body, (body.__doc__ or "").strip().splitlines()[0] if body.__doc__ else "")
    return body


def refused(status: int, ask: Callable[[], Any], *words: str) -> str:
    """The API server must refuse with that status and these words."""
    from .api import ApiError

    try:
        ask()
    except ApiError as error:
        assert error.status == status, f"{error.status} instead of {status}: {error.message}"
        for word in words:
            assert word in error.message, f"{word!r} is not in {error.message!r}"
        return error.message
    raise AssertionError(f"was not refused with {status}")
