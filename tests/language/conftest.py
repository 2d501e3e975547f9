"""What tests of readers share."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def executed_lines() -> Callable[[Callable[[], object]], int]:
    """Counts the lines of Python that a call executes: unlike the clock, the same on every machine."""

    def count(call: Callable[[], object]) -> int:
        lines = 0

        def step(frame: object, event: str, argument: object) -> object:
            nonlocal lines
            lines += 1
            return step

        sys.settrace(step)
        try:
            call()
        finally:
            sys.settrace(None)
        return lines

    return count
