"""Entries of a leaderboard: which runs are of one model, and what it is called.

    Entries().key(run)  ->  "e0"
    .finish()  ->  [{"key": "e0", "name": "mellm bundled motion=off", "model": "mellm", "motion_name": "off", ..}]

An entry is a model with its weights, motion settings, generation and system prompt, and with the judge of its
descriptions. What only changes speed makes no other entry, nor does where the weights lie.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mellm_plugin.errors import SettingsError
from mellm_plugin.motion.settings import PRESETS, MotionSettings
from mellm_plugin.report.runs import Run

_FREE = ("batch_size", "device", "device_map", "max_batch_size")
"""Arguments of models that change speed alone."""


def plain(value: Any) -> str:
    """Equal values as equal texts."""
    return json.dumps(value, sort_keys=True, default=str)


def prompts(run: Run) -> Any:
    """The version of a task's prompts; None where it is not known."""
    return run.metadata.get("prompt_version", run.metadata.get("wording"))


def latest(runs: Iterable[Run]) -> str:
    """The date of the newest run, as a text that sorts."""
    return max((run.date.isoformat() for run in runs if run.date is not None), default="")


def data_sums(data: Any) -> str:
    """The beginnings of the sums of the data, as they stand in the results file."""
    if not isinstance(data, dict):
        return ""
    if isinstance(data.get("sha256"), str):
        return str(data["sha256"])[:8]
    return "+".join(part for name in sorted(data) if (part := data_sums(data[name])))


def _arguments(text: str) -> dict[str, str]:
    """`pretrained=..,dtype=..` by name; what has no name under itself."""
    parts: list[str] = []
    for part in text.split(","):
        if "=" in part or not parts:
            parts.append(part)
        else:
            parts[-1] += f",{part}"  # a value with commas in it
    return {name: value for name, _, value in (part.partition("=") for part in parts if part)}


def identity(run: Run, judged: bool = True) -> str:
    """What makes a run one of an entry; without its judge, where `judged` is false."""
    known = {key: value for key, value in run.backend.items() if key != "training"}
    given = {key: value for key, value in _arguments(run.model_args).items() if key not in _FREE}
    if known.get("bundled") is True:
        given.pop("pretrained", None)
    if "motion" in known:
        given.pop("motion", None)
    if known.get("adapter_sha256"):
        given.pop("adapter", None)
    if known.get("weights_sha256"):
        given.pop("pretrained", None)
    elif known.get("adapter_sha256") and "pretrained" in given:  # where its base lies does not matter
        given["pretrained"] = Path(given["pretrained"]).name
    folds = None if run.loso is None else plain([run.loso.get("folds"), run.loso.get("failed")])
    unknown = str(run.samples) if run.results is None else None
    return plain(
        [
            run.model,
            given,
            known,
            _arguments(run.generation),
            run.shots,
            run.instruction,
            run.judge if judged else None,
            run.drawn,
            folds,
            unknown,
        ],
    )


def _motion(run: Run) -> tuple[Any, str | None]:
    """Motion settings, and the name that they have; None where they are not known."""
    found = run.backend.get("motion", run.drawn)
    if found is None:
        return None, None
    if found == "off" or (isinstance(found, str) and found in PRESETS):
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
    """A short name of a model: what it is, and what is not as usual."""
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
    return " ".join(parts)


class Entries:
    """The entries, numbered as they come."""

    def __init__(self, runs: Iterable[Run] = ()) -> None:
        self._runs: dict[str, list[Run]] = {}
        self._judged: dict[str, set[str]] = {}
        for run in runs:
            if run.judge is not None:
                self._judged.setdefault(identity(run, judged=False), set()).add(identity(run))

    def key(self, run: Run) -> str:
        """The key of a run's entry."""
        own = identity(run)
        # A judge is asked in some tasks alone: a run without one is that of the only judged entry that is else equal.
        judged = self._judged.get(own, set()) if run.judge is None else set()
        own = next(iter(judged)) if len(judged) == 1 else own
        self._runs.setdefault(own, []).append(run)
        return f"e{list(self._runs).index(own)}"

    def finish(self) -> list[dict[str, Any]]:
        """All of them, each with a name of its own."""
        newest = [max(runs, key=lambda run: latest([run])) for runs in self._runs.values()]
        names = [_label(run) for run in newest]
        for more in (_judge_of, _generation_of, _weights_of, _settings_of, _arguments_of):
            times = Counter(names)
            names = [
                f"{name} ({told})" if times[name] > 1 and (told := more(run)) else name
                for name, run in zip(names, newest, strict=True)
            ]
        seen: Counter[str] = Counter()
        found: list[dict[str, Any]] = []
        for number, (runs, run, name) in enumerate(zip(self._runs.values(), newest, names, strict=True)):
            seen[name] += 1
            motion, motion_name = _motion(run)
            found.append(
                {
                    "key": f"e{number}",
                    "name": name if seen[name] == 1 else f"{name} #{seen[name]}",
                    "model": run.model,
                    "model_args": run.model_args,
                    "adapter_sha256": run.backend.get("adapter_sha256"),
                    "motion": motion,
                    "motion_name": motion_name,
                    "judge": None if run.judge is None else run.judge[0],
                    "rubric": None if run.judge is None else run.judge[1],
                    "versions": {**run.versions, "prompts": prompts(run)},
                    "date": None if run.date is None else run.date.strftime("%Y-%m-%d"),
                    "system_instruction_sha": run.instruction,
                    "generation": run.generation or None,
                    "files": list(dict.fromkeys(str(file) for one in runs for file in one.files)),
                }
            )
        return found


def _judge_of(run: Run) -> str:
    return f"judge {run.judge[0]}" if run.judge is not None else ""


def _generation_of(run: Run) -> str:
    told = [run.generation] if run.generation else []
    return ", ".join([*told, f"system instruction {run.instruction[:8]}"] if run.instruction else told)


def _weights_of(run: Run) -> str:
    return str(run.backend.get("adapter_sha256") or run.backend.get("weights_sha256") or "")[:8]


def _settings_of(run: Run) -> str:
    """The motion settings that are not those of `robust`."""
    found, usual = _motion(run)[0], PRESETS["robust"].to_dict()
    if not isinstance(found, dict):
        return ""
    return ", ".join(f"{name}={value}" for name, value in sorted(found.items()) if usual.get(name) != value)[:80]


def _arguments_of(run: Run) -> str:
    return run.model_args
