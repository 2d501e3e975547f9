"""lmms-eval's final table shows the metrics of our tasks in their own order, and its command ends with what to do next.

lmms-eval sorts the rows of a task alphabetically, so the headline would be in the middle.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mellm_plugin.lmms_eval_changes.endings import frame_of_command, instead_of

_SCORES = "scores_stderr"  # that of `scoring.metrics`, which only our tasks have


class _Placed(str):
    """A key that compares by its place among the metrics of its task."""

    place: int

    def __lt__(self, other: str) -> bool:
        return self.place < other.place if isinstance(other, _Placed) else str.__lt__(self, other)


def extend_table() -> None:
    """Extend `make_table` wherever lmms-eval has it by name; a second call changes nothing."""
    utils: Any = sys.modules.get("lmms_eval.utils")
    before = getattr(utils, "make_table", None)
    if before is None or hasattr(before, "replaced_by_mellm"):
        return

    @instead_of(utils, "make_table")
    def make_table(plain: Any, result_dict: Any, column: str = "results", *args: Any, **kwargs: Any) -> Any:
        try:
            orders = dict(_orders(result_dict))
            rows = {task: _placed(scores, orders.get(task)) for task, scores in result_dict[column].items()}
            command = frame_of_command("cli_evaluate") if orders and column == "results" else None
            end = "" if command is None else "\n\n" + _next_steps(command.f_locals.get("args"), orders)
        except Exception:  # results of another form
            return plain(result_dict, column, *args, **kwargs)
        return f"{plain({**result_dict, column: rows}, column, *args, **kwargs)}{end}"

    for name in ("lmms_eval.evaluator", "lmms_eval.__main__", "__main__"):
        module: Any = sys.modules.get(name)
        if getattr(module, "make_table", None) is before:
            module.make_table = utils.make_table


def _orders(results: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """The metrics of our tasks, in the order in which they list them."""
    for task, config in results.get("configs", {}).items():
        names = [metric["metric"] for metric in config.get("metric_list") or ()]
        if _SCORES in names:
            yield task, names


def _placed(scores: Mapping[str, Any], order: list[str] | None) -> dict[str, Any]:
    if order is None:
        return dict(scores)
    found: dict[str, Any] = {}
    for name, value in scores.items():
        key = _Placed(name)
        metric = name.partition(",")[0]
        key.place = order.index(metric) if metric in order else len(order)
        found["alias" if name == "alias" else key] = value
    return found


def _next_steps(args: Any, orders: Mapping[str, list[str]]) -> str:
    """What a user does next, with the paths of this run; `orders` as from `_orders`."""
    output = getattr(args, "output_path", None)
    if not output or not getattr(args, "log_samples", False):
        return "Next: run again with `--output_path results --log_samples`, then `mellm report results -o report`"
    on_clips = [task for task, metrics in orders.items() if "vqa_parse_rate" not in metrics]  # `mellm read` reads these
    written = [file for task in on_clips[:1] for file in Path(output).rglob(f"*_samples_{task}.jsonl")]
    newest = max(written, key=lambda file: file.stat().st_mtime, default=None)
    read = "" if newest is None else f"`mellm read {shlex.quote(str(newest))}` lists what was read in each answer; "
    return f"Next: {read}`mellm report {shlex.quote(str(output))} -o report` makes a page of the runs"
