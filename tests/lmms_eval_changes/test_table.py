"""The rows of lmms-eval's table in the order of the task, and the last line of its command."""

from __future__ import annotations

import re
import shlex
import sys
from argparse import Namespace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mellm_plugin.cli import parser
from mellm_plugin.lmms_eval_changes.table import extend_table

METRICS = ("emotion_uf1", "au_f1", "answer_rate", "emotion_uf1_stderr", "scores_stderr")
RESULTS = {
    "results": {
        "ours": {"alias": " - ours", **{f"{name},none": 0.5 for name in sorted(METRICS)}, "record,none": []},
        "theirs": {"alias": "theirs", "b,none": 1, "a,none": 2},
    },
    "configs": {
        "ours": {"metric_list": [{"metric": name} for name in METRICS]},
        "theirs": {"metric_list": [{"metric": name} for name in "ba"]},
    },
}


def plain(result_dict: Any, column: str = "results") -> str:
    """As lmms-eval 0.7.3 does it: takes the alias out, sorts the rows, hides standard errors."""
    lines = []
    for scores in result_dict[column].values():
        alias = scores.pop("alias")
        for key, value in sorted(scores.items()):
            metric, _, filter = key.partition(",")
            if not metric.endswith("_stderr") and value != []:
                lines.append(f"{alias} {metric} {scores.get(f'{metric}_stderr,{filter}')}")
    return "\n".join(lines)


@pytest.fixture
def utils(monkeypatch: pytest.MonkeyPatch) -> Any:
    found: Any = ModuleType("lmms_eval.utils")
    found.make_table = plain
    for name in ("lmms_eval.utils", "lmms_eval.__main__"):
        monkeypatch.setitem(sys.modules, name, found)
    extend_table()
    return found


TABLE = [" - ours emotion_uf1 0.5", " - ours au_f1 None", " - ours answer_rate None", "theirs a None", "theirs b None"]


def test_rows_have_the_order_of_the_task_and_others_stay(utils: Any) -> None:
    for _ in range(2):
        assert utils.make_table(RESULTS).splitlines() == TABLE, "and nothing more in a call from Python"
    once = utils.make_table
    extend_table()
    assert utils.make_table is once
    assert utils.make_table({"groups": {"g": {"alias": "g", "a,none": 1}}}, "groups") == "g a None"


@pytest.mark.parametrize("logged", [True, False])
@pytest.mark.parametrize("of_questions", [True, False])
def test_the_command_ends_with_what_to_do_next(utils: Any, tmp_path: Path, logged: bool, of_questions: bool) -> None:
    """Its commands can be run as they are printed."""
    folder = tmp_path / "my results"
    (folder / "mellm").mkdir(parents=True)
    samples = folder / "mellm" / "20261129_075911_samples_ours.jsonl"
    samples.touch()
    metrics = ["vqa_parse_rate" if of_questions and name == "au_f1" else name for name in METRICS]
    ours = {"metric_list": [{"metric": name} for name in metrics]}
    results = {**RESULTS, "configs": {**RESULTS["configs"], "ours": ours}}
    code = "def cli_evaluate(args, make, results):\n    return make(results)"
    names: dict[str, Any] = {}
    exec(compile(code, "/somewhere/lmms_eval/__main__.py", "exec"), names)
    args = Namespace(output_path=str(folder) if logged else None, log_samples=logged)
    *table, last = names["cli_evaluate"](args, utils.make_table, results).splitlines()
    assert of_questions or table == [*TABLE, ""]
    commands = [shlex.split(text) for text in re.findall("`(mellm [^`]*)`", last)]
    given = [vars(parser().parse_args(command[1:])) for command in commands]
    assert [command[1] for command in commands] == ["read", "report"][not logged or of_questions :]
    if logged:
        assert of_questions or given[0]["files"] == [str(samples)]
        assert given[-1]["results"] == [str(folder)]
    else:
        assert "`--output_path results --log_samples`" in last and given[0]["results"] == ["results"]
    others = {key: {"theirs": RESULTS[key]["theirs"]} for key in RESULTS}
    assert "Next" not in names["cli_evaluate"](args, utils.make_table, others)
