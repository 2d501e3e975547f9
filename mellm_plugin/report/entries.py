"""Entries of a leaderboard: which runs belong to one model, and its name.

Entries().key(run)  ->  "e0"
.finish()  ->  [{"key": "e0", "name": "mellm bundled motion=off", "model": "mellm", "motion_name": "off", ..}]
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mellm_plugin.errors import SettingsError
from mellm_plugin.motion.settings import PRESETS, MotionSettings
from mellm_plugin.report.runs import Run

_DEFAULTS = {"decide": "generate", "answer": "words", "orders": "3"}  # arguments of the model mellm
_FREE = ("batch_size", "device", "device_map", "max_batch_size")
"""Model arguments that only change speed."""


def plain(value: Any) -> str:
    """A text that is the same for equal values."""
    return json.dumps(value, sort_keys=True, default=str)


def prompts(run: Run) -> Any:
    """The version of the task's prompts; None if unknown."""
    return run.metadata.get("prompt_version", run.metadata.get("wording"))


def latest(runs: Iterable[Run]) -> str:
    """The date of the newest run, as a sortable text."""
    return max((run.date.isoformat() for run in runs if run.date is not None), default="")


def data_sums(data: Any) -> str:
    """The first digits of the checksums of the data, from `metadata` of a results file."""
    if not isinstance(data, dict):
        return ""
    if isinstance(data.get("sha256"), str):
        return str(data["sha256"])[:8]
    return "+".join(part for name in sorted(data) if (part := data_sums(data[name])))


def _arguments(text: str) -> dict[str, str]:
    """The values of `pretrained=..,dtype=..` by name; a part without `=` belongs to the value before it."""
    parts = re.split(r",(?=[^,]*=)", text)
    return {name: value for name, _, value in (part.partition("=") for part in parts if part)}


def identity(run: Run, judged: bool = True) -> str:
    """Text that is the same for all runs of an entry; without the judge if `judged` is false."""
    known = {key: value for key, value in run.backend.items() if key != "training"}
    given = {key: value for key, value in _arguments(run.model_args).items() if key not in _FREE}
    if known.get("bundled") is True:
        given.pop("pretrained", None)
    if run.model == "mellm":
        for default in _DEFAULTS.items() & given.items():
            del given[default[0]]
    if "motion" in known:
        given.pop("motion", None)
    if known.get("adapter_sha256"):
        given.pop("adapter", None)
    if known.get("weights_sha256"):
        given.pop("pretrained", None)
    elif known.get("adapter_sha256") and "pretrained" in given:  # the path of its base does not matter
        given["pretrained"] = Path(given["pretrained"]).name
    folds = None if run.loso is None else plain([run.loso.get("folds"), run.loso.get("failed")])
    unknown = str(run.samples) if run.results is None else None
    judge = run.judge if judged else None
    parts = [run.model, given, known, _arguments(run.generation), run.shots, run.instruction]
    return plain([*parts, judge, run.drawn, folds, unknown])


def _motion(run: Run) -> tuple[Any, str | None]:
    """Motion settings and their name; None if unknown."""
    found = run.backend.get("motion", run.drawn)
    if found is None or found == "off" or (isinstance(found, str) and found in PRESETS):
        return found, found
    if isinstance(found, dict):
        try:
            settings = MotionSettings.from_dict(found)
        except SettingsError:
            return found, "of another version"
        names = [name for name, preset in PRESETS.items() if preset == settings]
        return found, names[0] if names and found.keys() >= settings.to_dict().keys() else "own settings"
    return str(found), "own settings"


def _label(run: Run) -> str:
    """A short name of a model, with what differs from the defaults."""
    given = _arguments(run.model_args)
    if run.results is None:
        return f"model not known ({run.samples.name if run.samples else run.task})"
    parts = [run.model or "model not named"]
    if run.loso is not None:
        parts.append(f"leave one subject out, {run.model_args}")
    elif run.backend.get("bundled") is True and "adapter" not in given:
        parts.append("bundled")
    else:
        source = next((given[key] for key in ("adapter", "pretrained", "model", "model_version") if given.get(key)), "")
        parts += [Path(source).name or source] if source else []
    name = _motion(run)[1]
    if run.drawn is not None:  # by the task, for a model that draws none itself
        parts.append("on maps")
    parts += [f"motion={name}"] if name not in (None, "robust") else []
    told = {"decide": ("likelihood",), "answer": ("head", "both")} if run.loso is None else {}
    parts += [f"{name}={given[name]}" for name, values in told.items() if given.get(name) in values]
    return " ".join(parts)


class Entries:
    """The entries, numbered in the order of their first run."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._runs: dict[str, list[Run]] = {}
        self._judged: dict[str, set[str]] = {}
        for run in runs:
            if run.judge is not None:
                self._judged.setdefault(identity(run, judged=False), set()).add(identity(run))

    def key(self, run: Run) -> str:
        """The key of a run's entry."""
        own = identity(run)
        # only some tasks ask a judge: a run without one belongs to the only judged entry that is otherwise equal
        judged = self._judged.get(own, set()) if run.judge is None else set()
        own = next(iter(judged)) if len(judged) == 1 else own
        self._runs.setdefault(own, []).append(run)
        return f"e{list(self._runs).index(own)}"

    def finish(self) -> list[dict[str, Any]]:
        """All entries, each with a unique name."""
        newest = [max(runs, key=lambda run: latest([run])) for runs in self._runs.values()]
        names = [_label(run) for run in newest]
        for details in zip(*map(_details, newest), strict=True):
            times, named = Counter(names), zip(names, details, strict=True)
            names = [f"{name} ({detail})" if times[name] > 1 and detail else name for name, detail in named]
        seen: Counter[str] = Counter()
        found: list[dict[str, Any]] = []
        for number, (runs, run, name) in enumerate(zip(self._runs.values(), newest, names, strict=True)):
            seen[name] += 1
            motion, motion_name = _motion(run)
            judge, rubric = run.judge or (None, None)
            entry: dict[str, Any] = {"key": f"e{number}", "name": name if seen[name] == 1 else f"{name} #{seen[name]}"}
            entry |= {"model": run.model, "model_args": run.model_args}
            entry |= {"adapter_sha256": run.backend.get("adapter_sha256"), "motion": motion, "motion_name": motion_name}
            entry |= {"judge": judge, "rubric": rubric, "versions": {**run.versions, "prompts": prompts(run)}}
            entry |= {"date": run.day, "system_instruction_sha": run.instruction, "generation": run.generation or None}
            files = dict.fromkeys(str(file) for one in runs for file in one.files)
            found.append(entry | {"files": list(files)})
        return found


def _details(run: Run) -> tuple[str, str, str, str, str]:
    """What may tell apart entries of one name, tried in this order; empty where a run has nothing of it."""
    judge = "" if run.judge is None else f"judge {run.judge[0]}"
    instruction = f"system instruction {run.instruction[:8]}" if run.instruction else ""
    weights = str(run.backend.get("adapter_sha256") or run.backend.get("weights_sha256") or "")[:8]
    motion, usual = _motion(run)[0], PRESETS["robust"].to_dict()
    changed = sorted(motion.items()) if isinstance(motion, dict) else ()
    settings = ", ".join(f"{name}={value}" for name, value in changed if usual.get(name) != value)[:80]
    return judge, ", ".join(filter(None, (run.generation, instruction))), weights, settings, run.model_args
