"""What the task files of micro-expression tasks name with `!function mellm_plugin.meu.NAME`.

    task: casme2_meu
    include: ../meu.yaml
    dataset_path: !function mellm_plugin.meu.data(casme2)
    process_docs: !function mellm_plugin.meu.protocol(labels=disgust+happiness+others+surprise, aus=1+2+4+7+12)
    lmms_eval_specific_kwargs: {default: {prompt: frames}, mellm: {prompt: map}}

    data_files   data(NAME), table(FILE), files(NAME+NAME), listed_files(FILE): the clips; their versions
    protocols    protocol(..), listed(FILE, ..), composite: which clips, labels and units a task asks and scores
    messages     doc_to_messages and its kin: a clip becomes a message
    readings     process_results: an answer becomes the record of its clip
    .. and the metrics of `scoring.metrics`

This file is the door: YAML can only name an attribute of a module, so names with arguments are resolved in
`__getattr__`. `data(casme2)` is computed when lmms-eval loads the task, not when it indexes it, because a dataset may
not be prepared. The modules are imported when one of their names is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from mellm_plugin.errors import InputError, near

_MODULES = {
    "data_files": "data data_version files listed_files listed_version metadata prepared_name table table_version "
    "yaml_folder",
    "protocols": "composite protocol",
    "messages": "doc_to_messages doc_to_target doc_to_text doc_to_visual",
    "readings": "process_results process_results_by_part process_sensitivity",
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}

_OF_ONE = ("data", "data_version", "files", "metadata")
_OF_FILE = ("listed_files", "listed_version", "table", "table_version")
_CALLS = {
    **{name: f"{name}({'NAME+NAME' if name == 'files' else 'NAME'})" for name in _OF_ONE},
    **{name: f"{name}(FILE)" for name in _OF_FILE},
    "listed": "listed(FILE, names=0:A+1:B, labels=A+B, aus=1+2, asks=all)",
    "protocol": "protocol(labels=A+B, aus=1+2, asks=all)",
    "metrics": "metrics(all), metrics(emotion), metrics(aus), metrics(sensitivity) or metrics(parts=NAME+NAME)",
    "stderr": "stderr(SCORE)",
}
"""How a task file writes each name with arguments."""


def __getattr__(name: str) -> Any:
    if call := re.fullmatch(r"(\w+)\((.*)\)", name):
        return _called(name, call[1], [part.strip() for part in call[2].split(",") if part.strip()])
    if name in _MODULE_OF:
        return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    hint = ""
    if not name.startswith("_"):
        aggregations = _aggregations()
        if name in aggregations:
            return aggregations[name]
        hint = near(name, {**_MODULE_OF, **_CALLS, **aggregations})
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}.{hint}".removesuffix("."))


def _called(text: str, function: str, parts: Sequence[str]) -> Any:
    """The value of a name with arguments: `data(casme2)`, `protocol(labels=a+b)`."""
    keywords = {key.strip(): value.strip() for key, mark, value in (part.partition("=") for part in parts) if mark}
    first = parts[0] if parts and "=" not in parts[0] else None
    if first is not None and len(parts) == 1:
        if function in _OF_ONE:
            return __getattr__(function)(first)
        if function == "stderr":
            return _stderr(first)
    if function == "metrics" and len(parts) == 1:
        return _metrics(first, keywords)
    if function == "protocol" and len(keywords) == len(parts) and keywords.keys() <= {"labels", "aus", "asks"}:
        return import_module(f"{__name__}.protocols").bound(keywords)
    if first is not None and len(keywords) == len(parts) - 1:
        if function in _OF_FILE:
            return __getattr__(function)(first, **keywords)
        if function == "listed":
            return import_module(f"{__name__}.protocols").bound_list(first, keywords)
    known = _CALLS.get(function) or ", ".join(_CALLS.values())
    hint = "" if function in _CALLS else near(function, _CALLS)
    raise InputError(f"expected {known}, found {text!r}.{hint}", where="task file")


def _metrics(kind: str | None, keywords: dict[str, str]) -> list[dict[str, Any]]:
    """The `metric_list` of one kind of task, or of a task over several datasets (`parts=casme2+samm`)."""
    from mellm_plugin.scoring import metrics

    if kind in metrics.SHOWN:
        return metrics.listed(kind)
    if keywords.keys() == {"parts"} and all(names := [part.strip() for part in keywords["parts"].split("+")]):
        return metrics.listed_by_part(names)
    found = kind or ", ".join(f"{name}={value}" for name, value in keywords.items())
    known = f"{', '.join(metrics.SHOWN)} or parts=NAME+NAME"
    fault = f"metrics: expected one of {known}, found {found!r}.{near(found, metrics.SHOWN)}"
    raise InputError(fault, where="task file")


def _aggregations() -> dict[str, Any]:
    """The list `metrics`, and aggregations as task files name them that list single metrics."""
    from mellm_plugin.scoring import metrics

    found = {one.name: one.noted for one in (*metrics.SENSITIVITY, *metrics.METRICS)}
    old = {"majority_uf1": found["emotion_uf1_majority"], "majority_acc": found["emotion_acc_majority"]}
    return {**found, **old, "metrics": metrics.listed("all"), "ci95": _ci95}


def _stderr(score: str) -> Callable[[Any], float | None]:
    """The aggregation of `<metric>_stderr` in task files that list single metrics."""
    from mellm_plugin.scoring import summary

    if score not in (known := summary.SCORES):
        fault = f"expected stderr of {', '.join(known)}, found {score!r}.{near(score, known)}"
        raise InputError(fault, where="task file")
    return lambda items: summary.interval(score, items).stderr


def _ci95(records: Any) -> dict[str, Any]:
    """The aggregation of `ci95_stderr` in task files that list single metrics."""
    from mellm_plugin.scoring import metrics

    found = metrics.Scores(metrics.of_record(records[0]))(records)
    return {name: score["ci95"] for name, score in found.items() if "ci95" in score}
