"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings
from loguru import logger
from PIL import ImageFile

settings.register_profile("mellm", deadline=None)  # a machine may pause; nothing here is timed
settings.load_profile("mellm")


@pytest.fixture(scope="session", autouse=True)
def cache_of_flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test reads or writes the user's own caches or asks the user's judge, nor does a process that a test starts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MELLM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("MELLM_JUDGE_CACHE", str(tmp_path_factory.mktemp("judge")))
        for name in ("MELLM_CACHE_GB", "MELLM_JUDGE"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What is logged at WARNING and above."""
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(str(message)), level="WARNING", format="{message}")
    yield lines
    logger.remove(handler)


@pytest.fixture(autouse=True)
def damaged_images_stay_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """lmms-eval, once a test has imported it, has Pillow fill in what is missing of an image."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow ones first, so that of several processes (`-n 2 --dist loadfile`) none is left with them at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
