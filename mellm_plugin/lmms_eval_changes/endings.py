"""How an error of ours ends lmms-eval's command, which catches every Exception, prints a traceback and exits with 0."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_PACKAGE = "mellm_plugin"
_PATIENCE_S = 10.0


def instead_of(owner: Any, name: str) -> Callable[[Callable[..., Any]], object]:
    """Decorates a function that replaces one of lmms-eval, which it is given first; a second time changes nothing."""

    def replace(ours: Callable[..., Any]) -> None:
        plain = getattr(owner, name)
        if not hasattr(plain, "replaced_by_mellm"):

            @functools.wraps(plain)
            def changed(*args: Any, **kwargs: Any) -> Any:
                return ours(plain, *args, **kwargs)

            changed.replaced_by_mellm = True  # type: ignore[attr-defined]
            is_static = isinstance(inspect.getattr_static(owner, name), staticmethod)
            setattr(owner, name, staticmethod(changed) if is_static else changed)

    return replace


def our_error(error: BaseException | None) -> Exception | None:
    """The error of this package that caused this one, or that was the last of several attempts."""
    errors: Any = sys.modules.get(f"{_PACKAGE}.errors")
    if errors is None:
        return None
    return next((one for one in with_causes(error) if isinstance(one, errors.MellmError)), None)


def with_causes(error: BaseException | None) -> Iterator[Exception]:
    """An error and its causes; the cause of failed retries is the last attempt's error."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, Exception):
            yield error
        seen.add(id(error))
        attempt: Any = getattr(error, "last_attempt", None)  # of tenacity's RetryError
        error = error.__cause__ or (attempt.exception() if attempt is not None else None)


def joined(errors: list[Exception]) -> Exception:
    """One error with the messages of all, each once."""
    texts = list(dict.fromkeys(str(error) for error in errors))
    texts = [text for text in texts if not any(text != other and text in other for other in texts)]
    if len(texts) == 1:
        return next(error for error in errors if str(error) == texts[0])
    kinds = {type(error) for error in errors}
    kind: Any = kinds.pop() if len(kinds) == 1 else sys.modules[f"{_PACKAGE}.errors"].MellmError
    one: Exception = kind("\n".join(texts))
    return one


def frame_of_command(function: str = "cli_evaluate_single") -> FrameType | None:
    """The frame of a function of lmms-eval's command; None in a call from Python."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == function and os.path.basename(code.co_filename) == "__main__.py":
            return frame
        frame = frame.f_back
    return None


def let_other_processes_through() -> None:
    """Let the other processes of a distributed run pass the barrier at which they wait for rank 0 to load tasks, so
    that they end with our error too and not with that of a lost connection."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        if distributed.get_rank() == 0:
            distributed.barrier()
        distributed.destroy_process_group()


def leave(text: str) -> None:
    """Print a message and end the process with 1; once on a machine where all of its processes fail alike."""
    rest = _not_begun()
    if os.environ.get("LOCAL_RANK", "0") != "0":
        time.sleep(_PATIENCE_S)  # where process 0 fails too, the launcher ends this one before it wakes up
        text = f"process {os.environ['LOCAL_RANK']}: {text}"
    sys.stdout.flush()
    print(f"{text}{rest}", file=sys.stderr, flush=True)
    raise SystemExit(1)


def _not_begun() -> str:
    """How many evaluations of a `--config` of several are skipped when the command ends now, in words."""
    frame = frame_of_command()
    known = frame.f_back.f_locals if frame is not None and frame.f_back is not None else {}
    every, current = known.get("args_list"), known.get("args")
    if not isinstance(every, list) or not any(one is current for one in every):
        return ""
    later = len(every) - 1 - next(at for at, one in enumerate(every) if one is current)
    return f"\nof --config {later} later evaluations were not begun" if later else ""
