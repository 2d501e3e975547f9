"""The device of this process: the one that the user names, or the one that accelerate assigns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator, DistributedType

from mellm_plugin.errors import SettingsError


def process_device(
    wanted: str | None,
    device_map: str | dict[str, Any] | None,
    accelerator: Accelerator,
    log: Callable[[str, str], None],
) -> torch.device:
    """The device for the model of this process.

    Args:
        wanted: `cpu`, `cuda`, `cuda:1`; None: accelerate's choice.
        device_map: set if the model is split over devices.
        accelerator: of this process.
        log: is called with a level and a message.

    Raises:
        SettingsError: no such device, or one that several processes cannot use.
    """
    own, several, kind = accelerator.device, accelerator.num_processes > 1, accelerator.distributed_type
    if kind in (DistributedType.FSDP, DistributedType.DEEPSPEED):
        raise SettingsError(
            f"expected processes that each hold the whole model, found {kind.value}; to split it over "
            "GPUs start one process with device_map=auto"
        )
    if several and device_map is not None:
        raise SettingsError("device_map: expected one process, found several, each with the whole model")
    if wanted is None:
        return torch.device(own)
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"device: expected one of this machine, found {wanted!r}: {error}") from None
    if not several:
        return device
    # The processes communicate over the devices that accelerate assigned to them.
    if device.type != own.type:
        hint = "; set ACCELERATE_USE_CPU=true" if device.type == "cpu" else ""
        raise SettingsError(f"device: for several processes expected {own.type}, found {wanted!r}{hint}")
    if device.index is not None:
        log("WARNING", f"device={wanted} is ignored: {accelerator.num_processes} processes use one device each")
    return torch.device(own)
