"""Checks of the GPU, and what it has room for.

    ok    gpu  NVIDIA H200, 150 GB, bf16; torch 2.15.0+cu132
    note  gpu  no GPU is visible: the bundled model runs on the CPU, Qwen2.5-VL-7B needs a GPU

Importing torch takes seconds. Another process does it, in parallel with the other checks, and only on a machine with
signs of a GPU. A driver that hangs or crashes affects that process alone.
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
_CPU_ONLY = "the bundled model runs on the CPU, Qwen2.5-VL-7B needs a GPU"
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


def ask_torch(seconds: float = 60.0) -> Finding | dict[str, Any]:
    """The GPUs that torch can use, as `assess` takes them; or why there is nothing to assess.

    Args:
        seconds: how long torch may take.
    """
    signs = sys.platform == "darwin" or shutil.which("nvidia-smi") or any(Path(s).exists() for s in _SIGNS)
    if not signs:
        return note(f"no GPU is visible: {_CPU_ONLY}")
    try:
        done = subprocess.run([sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return fault(
            f"torch did not list the GPUs within {seconds:g} s",
            "check whether nvidia-smi answers; if it does not, restart the machine or its driver",
        )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return fault(f"torch cannot be used: {last}", pip("install", "--force-reinstall", "torch"))
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def assess(found: Finding | Mapping[str, Any]) -> Iterator[Finding]:
    """What the GPUs have room for.

    Args:
        found: `torch` (version), `cuda`, `hip` (versions it was built for, or None), `mps`, and `gpus`: for each its
            `name`, `total` and `free` bytes, and `bf16`; or the finding of `ask_torch`, which is passed on.
    """
    if isinstance(found, Finding):
        yield found
        return
    gpus: list[Mapping[str, Any]] = found["gpus"]
    if not gpus:
        yield _no_gpu(found)
        return
    for gpu in gpus:
        memory = f"{gigabytes(gpu['total'])}, {gigabytes(gpu['free'])} of it free"
        yield ok(f"{gpu['name']}, {memory}, {'bf16' if gpu['bf16'] else 'no bf16'}; torch {found['torch']}")
    if not all(gpu["bf16"] for gpu in gpus):
        yield note("it does not support bf16, the default on a GPU", "--model_args dtype=float16")
    totals = [gpu["total"] for gpu in gpus]
    if max(gpu["free"] for gpu in gpus) >= _ROOM_7B:
        yield ok("room for Qwen2.5-VL-7B in bf16; for fine-tuning see: mellm finetune qwen2_5_vl_7b_lora --dry-run")
    elif max(totals) >= _ROOM_7B:
        yield note("there would be room for Qwen2.5-VL-7B, but other programs use it", "nvidia-smi")
    elif sum(totals) >= _ROOM_7B:
        yield note("only all GPUs together have room for Qwen2.5-VL-7B in bf16", "--model_args device_map=auto")
    else:
        yield note(
            f"too small for Qwen2.5-VL-7B in bf16 ({gigabytes(WEIGHTS_7B)} of weights)",
            "--model_args pretrained=Qwen/Qwen2.5-VL-3B-Instruct",
        )


def _no_gpu(found: Mapping[str, Any]) -> Finding:
    """Why torch lists none, on a machine with signs of one."""
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    if found["mps"]:
        return note(f"Apple's, with torch {found['torch']}: untested, so the CPU is used unless device=mps")
    if sys.platform == "darwin":
        return note(f"none that torch can use: {_CPU_ONLY}")
    if hidden is not None and hidden.strip() in ("", "-1"):
        return note(f"hidden by CUDA_VISIBLE_DEVICES={hidden!r}", "unset CUDA_VISIBLE_DEVICES")
    if found["cuda"] is None and found["hip"] is None:
        return fault(
            f"there is one, but torch {found['torch']} is built for CPUs only",
            f"{pip('install', '--force-reinstall', 'torch', 'torchvision')}, with the --index-url of pytorch.org",
        )
    built = f"CUDA {found['cuda']}" if found["cuda"] else f"ROCm {found['hip']}"
    return fault(
        f"there are signs of one, but torch {found['torch']}, built for {built}, can use none",
        "compare that with the driver's version in nvidia-smi; update the driver, or install torch for an older one",
    )
