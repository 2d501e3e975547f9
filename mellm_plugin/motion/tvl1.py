"""TV-L1 optical flow in torch, many pairs at once: the estimator of the published motion maps, without OpenCV contrib.

The algorithm is that of `cv2.optflow.DualTVL1OpticalFlow` with default settings, implemented from

- Zach, Pock, Bischof: A Duality Based Approach for Realtime TV-L1 Optical Flow. DAGM 2007. ("Zach")
- Sanchez, Meinhardt-Llopis, Facciolo: TV-L1 Optical Flow Estimation. Image Processing On Line 3, 2013. ("IPOL")
- Wedel, Pock, Zach, Bischof, Cremers: An Improved Algorithm for TV-L1 Optical Flow. 2009: the median filter. ("Wedel")

It differs from IPOL as OpenCV does: a pyramid of bilinear samples without a filter, no normalisation of the frames, and
the median filter. `python benchmarks/tvl1.py` compares the two.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import torch

from mellm_plugin.errors import ImageError, SettingsError

Frames = npt.NDArray[np.uint8] | npt.NDArray[np.float32]
Flow = npt.NDArray[np.float32]
Tensor: TypeAlias = torch.Tensor

# The symbols are IPOL's, the values OpenCV's.
TAU = 0.25  # time step of the dual ascent
LAMBDA = 0.15  # weight of the data term
THETA = 0.3  # how tightly the two halves of the split problem are coupled
EPSILON = 0.01  # a warp ends when an iteration changes the flow by less, px (root mean square)
SCALES = 5
RATIO = 1.25  # size of a scale over that of the next coarser one
WARPS = 5  # per scale
OUTER, INNER = 10, 30  # most iterations in a warp: ten times a median filter and 30 steps
SMALLEST_SIDE = 16  # px, of the coarsest scale

AT_ONCE = {"cpu": 1, "cuda": 64}  # single pairs fit a CPU's cache; many pairs amortise a GPU's kernel launches
CHECK_EVERY = {"cpu": 1, "cuda": 10}  # iterations between convergence checks, each of which stalls a GPU


def tvl1(onset: Frames, apex: Frames, *, device: str = "cpu", at_once: int | None = None) -> Flow:
    """TV-L1 optical flow from onset to apex, at onset pixels.

    Each pair converges on its own: its flow does not depend on the other pairs.

    Args:
        onset: grey, `(H, W)` or many, `(N, H, W)`; uint8, or float32 in the same grey levels (high-passed frames,
            which may be negative). Both sides at least 16 px.
        apex: the same shape.
        device: where torch computes, `"cpu"`, `"cuda"`, `"cuda:1"`.
        at_once: pairs solved together, about 150 bytes a pixel each, 400 on a GPU; None: 1 on a CPU, 64 elsewhere.

    Returns:
        float32 `(H, W, 2)` or `(N, H, W, 2)`, px, x to the right, y down: where the onset pixel went.

    Raises:
        ImageError: frames of another type, of different or too small shapes, or with values that are not finite.
        SettingsError: this machine has no such device.
    """
    faults = [f"{name}: {fault}" for name, frames in (("onset", onset), ("apex", apex)) for fault in _faults(frames)]
    if not faults and onset.shape != apex.shape:
        faults = [f"expected onset and apex of one shape, found {onset.shape} and {apex.shape}"]
    if faults:
        raise ImageError(faults)
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(f"expected a device of this machine, found {device!r}: {error}") from None
    kind = torch.device(device).type
    at_once = at_once or AT_ONCE.get(kind, AT_ONCE["cuda"])
    shape = onset.shape
    pairs = [np.array(frames, np.float32, order="C").reshape(-1, *shape[-2:]) for frames in (onset, apex)]
    flow = np.empty((len(pairs[0]), 2, *shape[-2:]), np.float32)
    with torch.inference_mode():
        for start in range(0, len(flow), at_once):
            some = slice(start, start + at_once)
            first, second = (torch.from_numpy(frames[some]).to(device) for frames in pairs)
            flow[some] = _coarse_to_fine(first, second).cpu().numpy()
    return np.ascontiguousarray(np.moveaxis(flow, 1, -1)).reshape(*shape, 2)


def _faults(frames: Frames) -> list[str]:
    if frames.dtype not in (np.uint8, np.float32):
        return [f"expected uint8 or float32, found {frames.dtype}"]
    if frames.ndim not in (2, 3):
        return [f"expected (H, W) or (N, H, W), found {frames.shape}"]
    if min(frames.shape[-2:]) < SMALLEST_SIDE:
        return [f"expected sides of at least {SMALLEST_SIDE} px, found {frames.shape[-2]} x {frames.shape[-1]}"]
    return [] if np.isfinite(frames).all() else ["expected finite values, found others"]


def _coarse_to_fine(onset: Tensor, apex: Tensor) -> Tensor:
    """Flow `(N, 2, H, W)` of float32 frames `(N, H, W)`, from the coarsest scale to the finest (IPOL, pyramid)."""
    pyramid = [torch.stack([onset, apex])]
    while len(pyramid) < SCALES:
        size = [round(side / RATIO) for side in pyramid[-1].shape[-2:]]
        if min(size) < SMALLEST_SIDE:
            break
        pyramid.append(_resize(pyramid[-1], size, (RATIO, RATIO)))
    flow = torch.zeros_like(pyramid[-1][0]).unsqueeze(1).repeat(1, 2, 1, 1)
    for frames in reversed(pyramid):
        if frames.shape[-2:] != flow.shape[-2:]:
            ratios = [old / new for old, new in zip(flow.shape[-2:], frames.shape[-2:], strict=True)]
            flow = RATIO * _resize(flow, frames.shape[-2:], ratios)
        flow = _one_scale(frames[0], frames[1], flow)
    return flow


def _resize(picture: Tensor, size: Sequence[int], ratios: Sequence[float]) -> Tensor:
    """Bilinear samples of `(..., H, W)`, pixel centres at .5; `ratios`: old pixels for a new one, in rows and columns.

    The ratio may differ from that of the sizes: 224 px become 179 at exactly 1.25, as in OpenCV.
    """
    for dim, new, ratio in ((-2, size[0], ratios[0]), (-1, size[1], ratios[1])):
        last = picture.shape[dim] - 1
        at = ((torch.arange(new, dtype=torch.float64) + 0.5) * ratio - 0.5).clamp(0, last)
        low = at.floor().long()
        weight = (at - low).to(picture).view(-1, 1) if dim == -2 else (at - low).to(picture)
        below, above = (picture.index_select(dim, i.to(picture.device)) for i in (low, (low + 1).clamp(max=last)))
        picture = torch.lerp(below, above, weight)
    return picture


def _one_scale(onset: Tensor, apex: Tensor, start: Tensor) -> Tensor:
    """The flow `(N, 2, H, W)` of one scale: alternates the halves of the split problem (Zach; IPOL, inner loops)."""
    n, _, h, w = start.shape
    size = start.numel()
    # All memory is allocated once, flat and with room at one end, so that the difference to a neighbour is one
    # contiguous subtraction over the batch. It also crosses the ends of rows and planes: there the forward difference
    # is set to zero, which keeps the dual variables zero, so the backward difference of the next row sees its border.
    u_room, px_room, py_room = start.new_zeros(size + w), start.new_zeros(size + 1), start.new_zeros(size + w)
    u_here, u_right, u_below = u_room[:size], u_room[1 : size + 1], u_room[w:]
    px_here, px_left, py_here, py_above = px_room[1:], px_room[:size], py_room[w:], py_room[:size]
    u, px, py = u_here.view_as(start).copy_(start), px_here.view_as(start), py_here.view_as(start)
    ux, uy, length, change = (torch.empty_like(start) for _ in range(4))
    ux_here, uy_here, change_here = ux.view(-1), uy.view(-1), change.view(-1)
    threshold = start.new_empty(n, 1, h, w)
    # Zeros up to a power of two: grid_sample then finds whole pixels without rounding, and equal frames do not move.
    zeros = 0, (1 << (w - 1).bit_length()) - w, 0, (1 << (h - 1).bit_length()) - h
    frames = torch.nn.functional.pad(torch.stack([apex, *_central_gradient(apex)], dim=1), zeros)
    tolerance = EPSILON / THETA * math.sqrt(h * w)  # of `change`, which lacks the factor theta
    check_every = CHECK_EVERY.get(start.device.type, CHECK_EVERY["cuda"])

    for _ in range(WARPS):
        # The residual is linear in u around the warp: rho = offset + slope . u. The thresholding step (Zach)
        # moves u by theta * clamp(-rho / (theta |slope|^2), -lambda, lambda) * slope, all of it constant but u.
        warped = _warp(frames, u)
        slope = warped[:, 1:].contiguous()
        square = (slope * slope).sum(1, keepdim=True)
        scale = torch.where(square > torch.finfo(square.dtype).eps, -1 / (THETA * square), 0)
        a = scale * (warped[:, :1] - onset.unsqueeze(1) - (slope * u).sum(1, keepdim=True))
        bx, by = (scale * slope).split(1, dim=1)
        # Step sizes of u and p for each pair. A converged pair continues with steps of zero, which change nothing.
        steps = start.new_tensor([THETA, TAU / THETA]).view(2, 1, 1, 1, 1).repeat(1, n, 1, 1, 1)
        for iteration in range(OUTER * INNER):
            if iteration % INNER == 0:
                _median_in_place(u, steps[0].flatten() > 0)
            torch.addcmul(a, bx, u[:, :1], out=threshold)
            threshold.addcmul_(by, u[:, 1:]).clamp_(-LAMBDA, LAMBDA)
            # u <- v + theta div p (Zach); `change` is the difference to the old u over theta.
            torch.sub(px_here, px_left, out=change_here).add_(py_here).sub_(py_above)
            change.addcmul_(threshold, slope)
            u.addcmul_(change, steps[0])
            # p <- (p + tau/theta grad u) / (1 + tau/theta |grad u|) (Zach, IPOL). rsqrt is 4 times faster than sqrt.
            torch.sub(u_right, u_here, out=ux_here)
            torch.sub(u_below, u_here, out=uy_here)
            ux[..., -1].zero_()
            uy[..., -1, :].zero_()
            torch.mul(ux, ux, out=length).addcmul_(uy, uy).rsqrt_()
            torch.div(steps[1], length, out=length).add_(1)
            px.addcmul_(ux, steps[1]).div_(length)
            py.addcmul_(uy, steps[1]).div_(length)
            moving = torch.linalg.vector_norm(change.view(n, -1), dim=1) > tolerance
            steps.mul_(moving.view(n, 1, 1, 1))
            if (iteration + 1) % check_every == 0 and not steps.any():
                break
    return u


def _central_gradient(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences of `(N, H, W)` along x and y; at the border, half the one-sided ones."""
    padded = torch.nn.functional.pad(picture, (1, 1, 1, 1), mode="replicate")
    return (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2, (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2


def _warp(frames: Tensor, flow: Tensor) -> Tensor:
    """Frames `(N, C, >= H, >= W)` read at `p + flow(p)`: bicubic (A = -.75), zero outside; `(N, C, H, W)`."""
    h, w = flow.shape[-2:]
    x = torch.arange(w, device=flow.device) + flow[:, 0]
    y = torch.arange(h, device=flow.device).view(-1, 1) + flow[:, 1]
    grid = torch.stack([(2 * x + 1) / frames.shape[-1] - 1, (2 * y + 1) / frames.shape[-2] - 1], dim=-1)
    return torch.nn.functional.grid_sample(frames, grid, "bicubic", "zeros", align_corners=False)


def _median_in_place(flow: Tensor, moving: Tensor) -> None:
    """Median of 5 x 5 (Wedel) of the pairs in the mask `moving`, bool `(N,)`; borders are replicated."""
    if flow.device.type != "cpu":
        flow.copy_(torch.where(moving.view(-1, 1, 1, 1), _median(flow), flow))
        return
    for number in moving.nonzero().flatten().tolist():
        for plane in flow[number].numpy():
            plane[:] = cv2.medianBlur(plane, 5)


_SORT_FIVE = ((0, 1), (3, 4), (2, 4), (2, 3), (0, 3), (0, 2), (1, 4), (1, 3), (1, 2))


def _order(planes: list[Tensor], pairs: Iterable[tuple[int, int]]) -> list[Tensor]:
    """Put the smaller values of each pair of planes into its first, in place."""
    for i, j in pairs:
        planes[i], planes[j] = torch.minimum(planes[i], planes[j]), torch.maximum(planes[i], planes[j])
    return planes


def _median(planes: Tensor) -> Tensor:
    """Median of 5 x 5 of float32 `(N, C, H, W)` on any device, by comparisons of whole planes; borders are replicated.

    Equal to `cv2.medianBlur(plane, 5)`, which is faster on a CPU.
    """
    h, w = planes.shape[-2:]
    padded = torch.nn.functional.pad(planes, (2, 2, 2, 2), mode="replicate")
    columns = _order([padded[..., i : i + h, :] for i in range(5)], _SORT_FIVE)  # shared by five windows
    table = [_order([row[..., j : j + w] for j in range(5)], _SORT_FIVE) for row in columns]
    # Entry (r, k) is not smaller than (r + 1)(k + 1) of the 25 entries and not larger than (5 - r)(5 - k), itself
    # included. If either count exceeds 13, the entry is not the median. Equally many drop out at both ends, so the
    # median of the remaining 13 is the result.
    left = [table[r][k] for r in range(5) for k in range(5) if (r + 1) * (k + 1) <= 13 and (5 - r) * (5 - k) <= 13]
    # The smallest and largest of 8 of the 13 cannot be the 7th: drop them, add another entry, and repeat.
    some, rest = left[:8], left[8:]
    while True:
        last = len(some) - 1
        _order(some, [*((0, i) for i in range(1, last + 1)), *((i, last) for i in range(1, last))])
        some = [*some[1:-1], rest.pop()] if rest else some[1:-1]
        if len(some) == 1:
            return some[0]
