"""What tests of readers share."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def executed_lines() -> Callable[[Callable[[], object]], int]:
    """Counts the lines of Python that a call executes: unlike the clock, the same on every machine."""

    def count(call: Callable[[], object]) -> int:
        steps = itertools.count()

        def step(*_: object) -> object:
            next(steps)
            return step

        sys.settrace(step)
        try:
            call()
        finally:
            sys.settrace(None)
        return next(steps)

    return count
