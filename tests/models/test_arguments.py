from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lmms_eval.utils import simple_parse_args_string

from mellm_plugin.errors import SettingsError
from mellm_plugin.models.arguments import ModelArguments
from mellm_plugin.motion.settings import PRESETS, MotionSettings


def test_a_command_line_is_read() -> None:
    line = (
        "pretrained=a/b,revision=12,merge_adapter=false,motion=published,dtype=bfloat16,device=cuda:1,"
        "min_pixels=784,max_pixels=1e6,batch_size=4,system_prompt=None"
    )
    read = ModelArguments.read(simple_parse_args_string(line))
    assert read == ModelArguments(
        pretrained="a/b",
        revision="12",
        merge_adapter=False,
        motion=PRESETS["published"],
        dtype="bfloat16",
        device="cuda:1",
        min_pixels=784,
        max_pixels=1_000_000,
        batch_size=4,
    )


def test_python_objects_are_read(tmp_path: Path) -> None:
    settings = MotionSettings(floor_px=0.3)
    read = ModelArguments.read(
        {"pretrained": tmp_path, "dtype": torch.float16, "device": torch.device("cpu"), "motion": settings}
    )
    assert read == ModelArguments(pretrained=str(tmp_path), dtype="float16", device="cpu", motion=settings)


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        ({"motion": "OFF"}, "motion", "off"),
        ({"motion": False}, "motion", "off"),
        (simple_parse_args_string('motion={"floor_px": 0.3}'), "motion", MotionSettings(floor_px=0.3)),
        ({"batch_size": "auto"}, "batch_size", None),
        ({"batch_size": "auto:4"}, "batch_size", None),
    ],
)
def test_special_values(given: dict[str, Any], name: str, value: object) -> None:
    assert getattr(ModelArguments.read(given), name) == value


def test_motion_may_be_a_file(tmp_path: Path) -> None:
    MotionSettings(floor_px=0.3).save(tmp_path)
    assert ModelArguments.read({"motion": tmp_path / "motion.json"}).motion == MotionSettings(floor_px=0.3)


def test_all_faults_come_at_once_and_name_the_near() -> None:
    with pytest.raises(SettingsError) as caught:
        ModelArguments.read(
            {
                "pretraind": "a/b",
                "dtype": "float23",
                "batch_size": "many",
                "map_workers": 0,
                "merge_adapter": 1,
                "motion": "robst",
                "device": "cuda",
                "device_map": "auto",
                "min_pixels": 100,
                "max_pixels": 50,
                "revision": 1.5,
                "system_prompt": "/no/such/prompt.txt",
                "adapter_revision": "main",
                "decide": "guess",
                "orders": 0,
            }
        )
    faults = {fault.partition(":")[0]: fault for fault in caught.value.faults}
    assert set(faults) == {
        *("pretraind", "dtype", "batch_size", "map_workers", "merge_adapter", "motion", "min_pixels"),
        *("revision", "system_prompt", "adapter_revision", "device, device_map", "decide", "orders"),
    }
    assert "Did you mean 'pretrained'" in faults["pretraind"]
    assert "trust_remote_code" in faults["pretraind"]  # the known ones are listed
    assert "'float32'" in faults["dtype"] and "'float23'" in faults["dtype"]
    assert "'robust'" in faults["motion"]
    assert "found 'many'" in faults["batch_size"]


def test_heads_and_likelihood_cannot_both_decide() -> None:
    with pytest.raises(SettingsError, match="answer, decide: found head and likelihood"):
        ModelArguments.read({"answer": "head", "decide": "likelihood"})
    assert ModelArguments.read({"answer": "both", "decide": "likelihood"}).decide == "likelihood"
