"""Checks of the GPU, and of what it is good for.

    ok    gpu  NVIDIA H200, 150 GB, bf16; torch 2.15.0+cu132
    note  gpu  no GPU is seen: the bundled model runs on the CPU, Qwen2.5-VL-7B needs a GPU

Torch takes seconds to import: that happens in another process, beside the other checks, and only on a machine with
signs of a GPU. A driver that hangs or crashes ends that process alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mellm_plugin.cli.doctor.findings import Finding, fault, gigabytes, note, ok, pip

WEIGHTS_7B = 16.6e9
"""Bytes of Qwen2.5-VL-7B in bf16: 8.29 billion parameters."""

_ROOM_7B = 18e9  # with the inputs and the cache of a few answers
_SIGNS = ("/proc/driver/nvidia/version", "/dev/nvidiactl", "/dev/dxg", "/dev/kfd")
_PROBE = """
import json, torch
found = {"torch": torch.__version__, "cuda": torch.version.cuda, "hip": torch.version.hip, "gpus": []}
found["mps"] = bool(getattr(torch.backends, "mps", None) and torch.backends.mps.is_available())
for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
    about = torch.cuda.get_device_properties(i)
    free, total = torch.cuda.mem_get_info(i)
    bf16 = bool(torch.version.hip) or about.major >= 8
    found["gpus"].append({"name": about.name, "total": total, "free": free, "bf16": bf16})
print("\\n" + json.dumps(found))
"""


class Probe:
    """Asks torch, in another process, for the GPUs that it can use.

    Args:
        seconds: how long it may take.
    """

    def __init__(self, seconds: float = 60.0) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[str] | None = None
        if has_signs():
            self._process = subprocess.Popen(
                [sys.executable, "-c", _PROBE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )

    def findings(self) -> Iterator[Finding]:
        """What it found; waits for it."""
        if self._process is None:
            yield note("gpu", "this machine shows none: the bundled model runs on the CPU, Qwen2.5-VL-7B needs a GPU")
            return
        try:
            said, wrong = self._process.communicate(timeout=self._seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
            yield fault(
                "gpu",
                f"torch did not say within {self._seconds:g} s which GPUs there are",
                "see whether nvidia-smi answers; where it does not, restart the machine or its driver",
            )
            return
        if self._process.returncode != 0:
            last = (wrong.strip().splitlines() or [f"exit code {self._process.returncode}"])[-1]
            yield fault("gpu", f"torch cannot be used: {last}", pip("install", "--force-reinstall", "torch"))
            return
        yield from judged(json.loads(said.strip().splitlines()[-1]))


def has_signs() -> bool:
    """Whether anything of this machine speaks for a GPU."""
    return sys.platform == "darwin" or shutil.which("nvidia-smi") is not None or any(Path(s).exists() for s in _SIGNS)


def judged(found: Mapping[str, Any]) -> Iterator[Finding]:
    """What the GPUs that torch sees are good for.

    Args:
        found: `torch` (version), `cuda`, `hip` (versions it was built for, or None), `mps`, and `gpus`: of each its
            `name`, `total` and `free` bytes, and `bf16`.
    """
    gpus: list[Mapping[str, Any]] = found["gpus"]
    if not gpus:
        yield from _none(found)
        return
    for gpu in gpus:
        half = "bf16" if gpu["bf16"] else "no bf16"
        yield ok(
            "gpu",
            f"{gpu['name']}, {gigabytes(gpu['total'])}, {gigabytes(gpu['free'])} of it free, {half}; "
            f"torch {found['torch']}",
        )
    if not all(gpu["bf16"] for gpu in gpus):
        yield note("gpu", "it computes no bf16, which is the default on a GPU", "--model_args dtype=float16")
    total, free = max(gpu["total"] for gpu in gpus), max(gpu["free"] for gpu in gpus)
    if total < _ROOM_7B:
        together = sum(gpu["total"] for gpu in gpus)
        if together >= _ROOM_7B:
            yield note(
                "gpu", "none has room for Qwen2.5-VL-7B in bf16, all together do", "--model_args device_map=auto"
            )
        else:
            yield note(
                "gpu",
                f"too small for Qwen2.5-VL-7B in bf16 ({gigabytes(WEIGHTS_7B)} of weights)",
                "--model_args pretrained=Qwen/Qwen2.5-VL-3B-Instruct",
            )
    elif free < _ROOM_7B:
        yield note("gpu", "there would be room for Qwen2.5-VL-7B, but other programs hold it", "nvidia-smi")
    else:
        yield ok(
            "gpu",
            "room for Qwen2.5-VL-7B in bf16; for fine-tuning ask: mellm finetune qwen2_5_vl_7b_lora --dry-run",
        )


def _none(found: Mapping[str, Any]) -> Iterator[Finding]:
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if found["mps"]:
        yield note("gpu", f"Apple's, by torch {found['torch']}: untried here, so the CPU is used unless device=mps")
    elif sys.platform == "darwin":
        yield note("gpu", "none that torch can use: the bundled model runs on the CPU, Qwen2.5-VL-7B needs a GPU")
    elif hidden is not None and hidden.strip() in ("", "-1"):
        yield note("gpu", f"hidden by CUDA_VISIBLE_DEVICES={hidden!r}", "unset CUDA_VISIBLE_DEVICES")
    elif found["cuda"] is None and found["hip"] is None:
        yield fault(
            "gpu",
            f"there is one, and torch {found['torch']} is built for CPUs alone",
            f"{pip('install', '--force-reinstall', 'torch', 'torchvision')}, with the --index-url of pytorch.org",
        )
    else:
        built = f"CUDA {found['cuda']}" if found["cuda"] else f"ROCm {found['hip']}"
        yield fault(
            "gpu",
            f"there are signs of one, and torch {found['torch']}, built for {built}, can use none",
            "see by nvidia-smi whether the driver is as new as that; update it, or install a torch for an older one",
        )
