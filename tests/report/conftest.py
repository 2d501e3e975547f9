"""What holds for every test of the report."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mellm_plugin.scoring import intervals


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Iterator[None]:
    """A tenth of the resamples for intervals, whose worth `scoring/test_intervals.py` shows; p-values need them all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(intervals.bootstrap.__kwdefaults__, "resamples", 1000)
        yield
