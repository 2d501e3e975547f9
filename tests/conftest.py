"""What holds for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import user_commands
from hypothesis import settings
from loguru import logger
from PIL import ImageFile

# Several processes share the cores: one thread each, set before NumPy, OpenCV or torch is imported by a test.
for _name in ("OMP_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"):
    os.environ.setdefault(_name, "1")

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


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for the whole test run, whichever of pytest-xdist's processes asks for it."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def machine(shared_folder: Path) -> dict[str, str]:
    """The variables of processes that share prepared data and caches; SynthME is drawn once, by the first of them."""
    return user_commands.environment(shared_folder)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Qwen2.5-VL of random weights."""
    import tiny  # torch, for the tests that need it alone

    return tiny.save_model(tmp_path_factory.mktemp("base"))


@pytest.fixture
def log() -> Iterator[list[str]]:
    """What is logged at WARNING and above."""
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(str(message)), level="WARNING", format="{message}")
    yield lines
    logger.remove(handler)


@pytest.fixture(autouse=True)
def damaged_images_stay_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """lmms-eval, once a test has imported it, makes Pillow fill in the missing part of a truncated image."""
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", False)


LONGEST = ("test_first_command", "test_lmms_eval", "test_finetune", "test_judged")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the longest files first, then the other slow tests, so that no process is left with one at the end."""

    def place(item: pytest.Item) -> tuple[int, bool]:
        name = item.path.stem if item.get_closest_marker("slow") else ""
        return LONGEST.index(name) if name in LONGEST else len(LONGEST), item.get_closest_marker("slow") is None

    items.sort(key=place)
