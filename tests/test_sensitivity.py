"""The task `synthme_sensitivity`: from answers to items and scores, and with three models in the real lmms-eval."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from user_commands import evaluate, records, results

from mellm_plugin import meu
from mellm_plugin.datasets.ladder import LEVELS
from mellm_plugin.datasets.synthme import AUS
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.scoring.metrics import SENSITIVITY, Scores
from mellm_plugin.scoring.sensitivity import SCORES, curve


def docs(faces: int = 22) -> list[dict[str, Any]]:
    """Clips of the ladder as `protocol` hands them on, without their images, which are not looked at here."""
    found = []
    known = {"dataset": "synthme_ladder", "emotion": None, "coarse": None, "labels": list(LABELS["synthme"])}
    for n in range(16 * faces):
        subject, unit, level = f"l{n // 16:02d}", AUS[n % 16], LEVELS[n % 11]
        clip = f"au{unit}_{level:g}px"
        own = {"id": f"synthme_ladder/{subject}/{clip}", "subject": subject, "clip": clip}
        found.append({**known, **own, "aus": [str(unit)] if level else [], "scored_aus": list(AUS), "asks": "all"})
    return found


def scores(answer: Callable[[dict[str, Any]], str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = Scores(SENSITIVITY)(
        [meu.process_sensitivity(doc, [answer(doc)])["record"] for doc in docs()]
    )
    return found


def test_an_item_says_what_moved_and_what_was_named() -> None:
    doc = next(doc for doc in docs() if doc["clip"] == "au12_0.45px")
    items = meu.process_sensitivity(doc, ["Conclusion: action units AU12+AU6+AU45; expression: happiness"])
    rung = {"unit": 12, "level_px": 0.45, "named": True, "others": 1, "other_units": 15}
    assert items["threshold_px"] == {"id": doc["id"], "subject": doc["subject"], **rung}
    assert items["record"]["rung"] == rung
    assert items["record"]["read"]["aus"] == [6, 12, 45] and items["record"]["read"]["label"] == "happiness"
    assert items["record"]["gold"]["aus"] == ["12"]
    still = next(doc for doc in docs() if doc["clip"] == "au1_0px")
    item = meu.process_sensitivity(still, ["Conclusion: action units none; expression: neutral"])["threshold_px"]
    assert (item["unit"], item["level_px"], item["named"], item["others"]) == (1, 0, False, 0)
    item = meu.process_sensitivity(still, ["I cannot tell."])["threshold_px"]
    assert item["named"] is item["others"] is None


def test_who_sees_from_some_length_on_has_it_as_threshold() -> None:
    def answer(doc: dict[str, Any]) -> str:
        level = float(doc["clip"].split("_")[1].removesuffix("px"))
        named = f"AU{doc['aus'][0]}" if level >= 0.45 else "none"
        return f"Conclusion: action units {named}; expression: neutral"

    found = scores(answer)
    values = {name: score["value"] for name, score in found.items()}
    assert values.keys() == {*SCORES, "au_parse_rate", "parse_rate", "answer_rate"}
    assert 0.3 < values["threshold_px"] < 0.45
    assert values["sensitivity_ceiling"] == pytest.approx(1, abs=0.01) and values["false_alarm_rate"] == 0
    assert values["au_parse_rate"] == 1 and values["parse_rate"] is None, "no clip has a label"
    low, high = found["threshold_px"]["ci95"]
    assert low <= values["threshold_px"] <= high


def test_an_answer_without_units_names_none_and_is_told_beside() -> None:
    found = scores(lambda doc: "I cannot tell.")
    assert found["threshold_px"] == {"value": None, "stderr": None, "ci95": None}
    assert [found[name]["value"] for name in ("au_parse_rate", "sensitivity_ceiling", "false_alarm_rate")] == [0] * 3


@pytest.mark.slow
def test_the_bundled_model_sees_and_the_baselines_do_not(machine: dict[str, str], tmp_path: Path) -> None:
    """The real command, with three models in one process."""
    shared = {"tasks": "synthme_sensitivity", "limit": 132, "batch_size": 16}
    models = ("mellm", "mellm_constant", "mellm_random")
    evaluate({model: {**shared, "model": model} for model in models}, machine, tmp_path)
    found = {model: results(tmp_path / model)["results"]["synthme_sensitivity"] for model in models}
    assert all(scores["au_parse_rate,none"] == 1.0 for scores in found.values())
    bundled = found["mellm"]
    assert 0.1 < bundled["threshold_px,none"] < 0.4 and bundled["sensitivity_ceiling,none"] > 0.75
    assert bundled["false_alarm_rate,none"] < 0.05
    clips = records(tmp_path / "mellm", "synthme_sensitivity")
    block = curve([{"id": record["id"], "subject": record["subject"], **record["rung"]} for record in clips])
    assert block["threshold_px"] == pytest.approx(bundled["threshold_px,none"])
    assert [block["low"], block["high"]] == pytest.approx(bundled["scores_stderr,none"]["threshold_px"]["ci95"])
    assert sum(block["clips"]) + block["still_clips"] == 132
    for model in models[1:]:
        assert found[model]["threshold_px,none"] in (None, "N/A"), "blind"
        assert found[model]["false_alarm_rate,none"] > 0.04
