"""The tasks of the licensed datasets inside the real lmms-eval, over fictitious clips: every task, its groups, what
they score, and how a run ends whose data are not there."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import user_commands
import yaml
from PIL import Image
from user_commands import environment

from mellm_plugin import meu
from mellm_plugin.datasets import megc2019, store
from mellm_plugin.datasets.catalogue import prepare_command
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.facs.labels import COARSE, LABELS, coarse, labels_of
from mellm_plugin.language.prompts import frames_prompt, map_prompt
from mellm_plugin.plugin import task_folder
from mellm_plugin.scoring import metrics

LICENSED = ("casme2", "samm", "smic", "casme3", "dfme", "mmew", "fourdme")
SPLITS = {"dfme": {"train": 1, "test_a": 2, "test_b": 1}}
UNITS = ("1", "2", "4", "7", "12", "R14", "15", "17")

_number = count()


def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(next(_number)).integers(0, 256, (48, 48), np.uint8)).save(file, "PNG")
    return file.getvalue()


def clips(dataset: str, rounds: int, split: str = "test") -> list[Sample]:
    """`rounds` clips of every label of a dataset, coded with two units each; one clip more has a label and no units.

    Clips of the composite's classes have names of its list.
    """
    name = dataset.split("_")[0]
    labels = [*labels_of(name) * rounds, labels_of(name)[0]]
    listed = {kind: [who for of, who in megc2019.clips().values() if of == kind] for kind in COARSE}
    ids = []
    for n, label in enumerate(labels):
        left = [who for who in listed.get(coarse(label) or "", ()) if who.startswith(f"{dataset}/") and who not in ids]
        of_list = bool(left) and (name, label) not in (("casme2", "fear"), ("casme2", "sadness"))
        ids.append(left[0] if of_list else f"{dataset}/s{n % 3}/{split}{n}")
    return [
        Sample(
            id=id,
            dataset=dataset,
            subject=id.split("/")[1],
            clip=id.split("/")[2],
            onset=picture(),
            apex=picture(),
            aus=None if name == "smic" or n == len(labels) - 1 else (UNITS[n % 8], UNITS[(n + 3) % 8]),
            emotion=label,
            coarse=coarse(label),
        )
        for n, (label, id) in enumerate(zip(labels, ids, strict=True))
    ]


def prepare(root: Path, names: Sequence[str]) -> None:
    for name in names:
        splits = {split: clips(name, rounds, split) for split, rounds in SPLITS.get(name, {"test": 2}).items()}
        store.write(name, splits, {}, root=root)


# ---- the files ------------------------------------------------------------------------------------------------------


def task_files() -> dict[str, str]:
    """The text of every task file by the name of its task, our own drawn data apart."""
    texts = [path.read_text(encoding="utf-8") for path in task_folder().rglob("*.yaml") if path.parent.name in FOLDERS]
    return {re.findall(r"^task: ([\w-]+)$", text, re.MULTILINE)[0]: text for text in texts}


FOLDERS = (*LICENSED, "megc2019")


def test_every_dataset_has_its_four_tasks_and_each_file_a_sentence_of_its_own() -> None:
    names = set(task_files())
    for prefix in (*LICENSED, "dfme_b"):
        assert {f"{prefix}_{kind}" for kind in ("meu", "meu_map", "emotion")} <= names
        for kind in ("au", "coarse"):
            assert (f"{prefix}_{kind}" in names) == (prefix != "smic"), (
                "SMIC has the classes alone, and no action units"
            )
    assert {"smic_vis_meu", "smic_nir_meu", "megc2019_meu"} <= names
    firsts = [text.split("\n", 1)[0] for text in task_files().values()]
    assert all(first.startswith("# ") and first.endswith(".") for first in firsts)
    assert len(set(firsts)) == len(firsts)


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_folder_has_a_readme_that_names_its_tasks_and_how_to_prepare_it(folder: str) -> None:
    text = (task_folder() / folder / "README.md").read_text(encoding="utf-8")
    unwrapped = " ".join(text.split())
    for name, content in task_files().items():
        if name.startswith(folder) and "_map" not in name:
            assert f"`{name}`" in text
            for units in re.findall(r"aus=([\d+]+)", content):
                assert units.replace("+", " ") in unwrapped, "the units scored"
    for dataset in ("casme2", "samm", "smic") if folder == "megc2019" else (folder,):
        assert prepare_command(dataset) in text
        assert all(f"| {label} |" in text for label in labels_of(dataset)) or folder == "megc2019"
    source = text.split("## Source, licence, citation")[1]
    assert folder == "megc2019" or re.search("https?://", source), "where the licence is to be had"


# ---- every task -----------------------------------------------------------------------------------------------------

SCRIPT = """
import json, sys, time
from loguru import logger
from lmms_eval import evaluator
from lmms_eval.api.model import lmms
from lmms_eval.protocol import ChatMessages
from lmms_eval.tasks import TaskManager, get_task_dict
from lmms_eval.utils import make_table
from mellm_plugin.errors import MellmError
from mellm_plugin.meu import doc_to_target
from mellm_plugin.plugin import task_folder

asked, warned = {}, []
logger.add(lambda message: warned.append(message.record["message"]), level="WARNING")

class Oracle(lmms):
    "Answers with the annotation; a chat model, as mellm is."
    is_simple = False

    def generate_until(self, requests):
        answers = []
        for request in requests:
            ctx, doc_to_messages, kwargs, doc_id, task, split = request.args
            doc = self.task_dict[task][split][doc_id]
            messages = doc_to_messages(doc)
            images, _, _ = ChatMessages(messages=messages).extract_media()
            asked[task] = [len(images), messages[0]["content"][-1]["text"]]
            answers.append(f"Conclusion: {doc_to_target(doc)}")
        return answers

    def loglikelihood(self, requests): raise NotImplementedError
    def generate_until_multi_round(self, requests): raise NotImplementedError

names, own = sys.argv[1].split(","), sys.argv[2]
manager = TaskManager(include_path=own, model_name="oracle")
out = {"index": {name: entry["type"] for name, entry in manager.task_index.items()}}
shown = ["samm_meu", "samm_meu_map", "classes_meu"]
for model, kind in (("mellm", "chat"), ("other", "simple")):
    alone = TaskManager(include_path=[own, str(task_folder())], include_defaults=False, model_name=model)
    loaded = get_task_dict(shown, alone, kind)
    settings = {name: task.lmms_eval_specific_kwargs for name, task in loaded.items()}
    out[kind] = {name: [settings[name], task.doc_to_text(task.eval_docs[0])] for name, task in loaded.items()}
    out["alone"] = alone.all_tasks
    out["generation"] = loaded["samm_meu"].config.generation_kwargs
    if kind == "simple":
        out["images"] = {name: len(task.doc_to_visual(task.eval_docs[0])) for name, task in loaded.items()}
out["meu"] = sorted(name for group in get_task_dict(["meu"], manager, "chat").values() for name in group)
results = evaluator.simple_evaluate(Oracle(), tasks=names, task_manager=manager)
out["results"] = results["results"]
out["table"] = make_table(results)
out["first"] = results["samples"]["samm_meu"][0]
out["samples"] = {
    task: [[sample["record"]["id"], sample["record"]["asks"]] for sample in some]
    for task, some in results["samples"].items()
}
out["keys"] = {task: sorted(some[0].keys()) for task, some in results["samples"].items()}
out["config"] = results["configs"]["megc2019_meu"]["metadata"]["data"]
slept, sleep, time.sleep = [], time.sleep, lambda seconds: slept.append(seconds)
for name in ("absent_meu", "wrong_meu", ["absent_meu", "my_meu", "absent_emotion", "gone_meu"]):
    try:
        evaluator.simple_evaluate(Oracle(), tasks=[name] if isinstance(name, str) else name, task_manager=manager)
    except Exception as error:
        out["-".join([name] if isinstance(name, str) else name)] = [type(error).__name__, str(error)]
print("OUT" + json.dumps({**out, "slept": slept, "asked": asked, "warned": warned}, default=str))
"""


OWN = {
    "my_meu": "samm)\nprocess_docs: !function mellm_plugin.meu.protocol(labels=samm)",
    "wrong_meu": "samm)\nprocess_docs: !function mellm_plugin.meu.protocol(labels=angr+fear)",
    "classes_meu": "mine)\nprocess_docs: !function mellm_plugin.meu.protocol(labels=negative+positive+surprise)",
    "absent_meu": "absent)",
    "absent_emotion": "absent)",
    "gone_meu": "gone)",
}
"""Task files of a user."""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    home = tmp_path_factory.mktemp("tasks")
    prepare(home / "data", (*LICENSED, "smic_vis", "smic_nir"))
    mine = [replace(one, aus=None, emotion=None) for one in clips("smic", 2)]  # classes only, no units
    store.write("mine", {"test": mine}, {}, root=home / "data")
    (home / "own" / "deeper").mkdir(parents=True)
    base = "include: mellm_plugin/tasks/meu.yaml\ndataset_path: !function mellm_plugin.meu.data("
    for name, rest in OWN.items():
        (home / "own" / "deeper" / f"{name}.yaml").write_text(f"task: {name}\n{base}{rest}\n")
    named = ["meu_all", "megc2019_meu", "smic_vis_meu", "smic_nir_meu", "my_meu", "classes_meu"]
    named += [f"{prefix}_{kind}" for prefix in (*LICENSED, "dfme_b") for kind in ("meu_map", "emotion", "coarse", "au")]
    named = [name for name in [*named, "dfme_b_meu"] if name not in ("smic_coarse", "smic_au")]
    command = [sys.executable, "-c", SCRIPT, ",".join(named), str(home / "own")]
    done = user_commands.run(command, environment(home), home)
    found: dict[str, Any] = json.loads(done.stdout.rpartition("OUT")[2])
    return found


@pytest.mark.slow
def test_groups_hold_the_licensed_datasets(run: dict[str, Any]) -> None:
    assert run["index"]["meu"] == run["index"]["meu_all"] == "group"
    assert run["meu"] == ["casme2_meu", "samm_meu", "smic_meu"]
    assert {f"{name}_meu" for name in LICENSED} <= run["results"].keys(), "those of meu_all"


def values(scores: Mapping[str, Any]) -> dict[str, Any]:
    return {name: score["value"] for name, score in scores.get("scores_stderr,none", {}).items()}


def scored(run: Mapping[str, Any], task: str) -> set[str]:
    return set(values(run["results"][task]))


@pytest.mark.slow
def test_right_answers_score_one_in_every_task(run: dict[str, Any]) -> None:
    for task, scores in run["results"].items():
        assert values(scores) or task == "meu_all"
        for name, value in values(scores).items():
            if name.startswith(("motion_", "description_")) or name.endswith(("_majority", "_all_present", "_count")):
                continue  # the right answers are conclusions, which describe nothing
            no_sides = name == "au_side_acc" and not values(scores)["au_side_count"]
            no_units = (task.startswith(("smic", "classes")) and name.startswith("au_")) or no_sides
            assert value == (None if no_units else 1.0), (task, name)


@pytest.mark.slow
def test_a_task_scores_what_it_asks_for(run: dict[str, Any]) -> None:
    emotion = {"emotion_uf1", "emotion_uar", "emotion_acc", "emotion_uf1_majority", "emotion_acc_majority"}
    coarse_class = {name.replace("emotion", "coarse") for name in emotion}
    units = {"au_f1", "au_f1_micro", "au_exact", "au_f1_all_present", "au_parse_rate", "au_side_acc", "au_side_count"}
    facts = {"facts_f1", "facts_precision", "facts_recall", "facts_f1_majority", "contradiction_rate", "rate"}
    described = {f"description_{name}" for name in facts}
    always = {"answer_rate", "parse_rate", "motion_plausible_rate"}
    for prefix in (*LICENSED, "dfme_b"):
        full = emotion | coarse_class | units | described | always
        assert scored(run, f"{prefix}_meu") == scored(run, f"{prefix}_meu_map") == full
        assert scored(run, f"{prefix}_emotion") == emotion | coarse_class | always
        if prefix != "smic":
            assert scored(run, f"{prefix}_coarse") == emotion | coarse_class | always
            assert scored(run, f"{prefix}_au") == units | always
    # each answer refers to its record in the rows that the task shows, and in nothing else
    shown = {"emotion": metrics.SHOWN["emotion"], "coarse": metrics.SHOWN["emotion"], "au": metrics.SHOWN["aus"]}
    for task, keys in run["keys"].items():
        listed = shown.get(task.rsplit("_", 1)[1], metrics.SHOWN["all"])
        if task == "megc2019_meu":
            listed = tuple(one["metric"] for one in getattr(meu, "metrics(parts=casme2+samm+smic)"))
        rows = {key for key in keys if "_" in key and not key.endswith("_stderr")} - KEYS
        assert rows <= {*listed}, task
        assert {key.removesuffix("_stderr") for key in keys if key.endswith("_stderr")} == {*rows, "scores"}, task


KEYS = {"doc_id", "filtered_resps", "doc_hash", "resps_length", "token_counts"}


@pytest.mark.slow
def test_a_task_asks_about_the_clips_of_its_protocol(run: dict[str, Any]) -> None:
    size = {task: len(some) for task, some in run["samples"].items()}
    for name in ("casme2", "samm", "smic", "casme3", "mmew"):
        assert size[f"{name}_meu"] == size[f"{name}_meu_map"] == 2 * len(LABELS[name]) + 1
    assert size["casme2_emotion"] == 2 * 5 + 1 and size["samm_emotion"] == 2 * 5 + 1, "five classes"
    assert size["smic_emotion"] == 2 * 3 + 1
    assert size["fourdme_meu"] == 2 * 7 + 1 and size["fourdme_emotion"] == 2 * 5 + 1, "the compound labels left out"
    for name in ("casme2", "samm", "casme3", "mmew", "fourdme"):
        assert size[f"{name}_au"] == size[f"{name}_meu"] - 1, "one clip has no units"
        of_class = [label for label in labels_of(name) if coarse(label)]
        assert size[f"{name}_coarse"] == 2 * len(of_class) + (labels_of(name)[0] in of_class), "the others left out"
    for kind, more in (("meu", 1), ("meu_map", 1), ("emotion", 1), ("au", 0)):
        assert size[f"dfme_{kind}"] == 2 * 7 + more and size[f"dfme_b_{kind}"] == 7 + more
        assert all("/test_a" in id for id, _ in run["samples"][f"dfme_{kind}"])
        assert all("/test_b" in id for id, _ in run["samples"][f"dfme_b_{kind}"])


@pytest.mark.slow
def test_the_model_is_asked_for_what_the_task_says(run: dict[str, Any]) -> None:
    for task, (images, text) in run["asked"].items():
        asks = {"emotion": "emotion", "coarse": "emotion", "au": "aus"}.get(task.rsplit("_", 1)[1], "all")
        assert images == (1 if task.endswith("_map") else 2), task
        assert ("(FACS)" in text) == (asks != "emotion"), task
        assert ("expression." in text or "expression:" in text) == (asks != "aus"), task
        assert {kind for _, kind in run["samples"][task]} == {asks}
    assert "positive surprise" in run["asked"]["fourdme_meu"][1]
    assert run["asked"]["samm_emotion"][1].endswith("anger, contempt, happiness, others or surprise.")


@pytest.mark.slow
def test_lmms_eval_hands_over_the_settings(run: dict[str, Any]) -> None:
    labels = LABELS["samm"]
    assert run["generation"] == {"max_new_tokens": 512, "temperature": 0.0, "until": []}
    assert run["chat"]["samm_meu"] == [{"prompt": "map"}, map_prompt(labels)]
    assert run["chat"]["samm_meu_map"][1] == run["simple"]["samm_meu_map"][1] == map_prompt(labels)
    assert run["simple"]["samm_meu"][1] == frames_prompt(labels)
    assert run["simple"]["classes_meu"][1] == frames_prompt(COARSE)
    assert run["images"] == {"samm_meu": 2, "samm_meu_map": 1, "classes_meu": 2}


@pytest.mark.slow
def test_the_table_has_our_rows_in_our_order_with_their_standard_errors(run: dict[str, Any]) -> None:
    rows = [[cell.strip() for cell in line.split("|")] for line in run["table"].splitlines() if line.startswith("|")]
    for task, kind in (("samm_meu", "all"), ("casme2_emotion", "emotion"), ("mmew_au", "aus")):
        shown = {cells[4]: cells for cells in rows if cells[1].removeprefix("- ") == task}
        assert list(shown) == [
            name for name in metrics.SHOWN[kind] if name != "description_score" and "ceiling" not in name
        ], task
        for name, cells in shown.items():
            found = run["results"][task]
            error = found[f"{name}_stderr,none"]
            assert cells[8] == "N/A" if error is None else float(cells[8]) == pytest.approx(error, abs=1e-4)
            assert found[f"{name},none"] == found["scores_stderr,none"][name]["value"]
    (without_units,) = [cells for cells in rows if cells[1] == "classes_meu" and cells[4] == "au_f1"]
    assert without_units[6] == "N/A"
    assert "Next:" not in run["table"], "the command prints it, not a call from Python"
    assert run["first"]["emotion_uf1"] == run["first"]["record"]["id"], "a reference"


@pytest.mark.slow
def test_the_composite_is_scored_together_and_by_part(run: dict[str, Any]) -> None:
    parts = {f"coarse_{m}_{d}" for m in ("uf1", "uar", "acc") for d in ("casme2", "samm", "smic")}
    assert parts < scored(run, "megc2019_meu")
    assert not any(name.startswith("emotion_") for name in scored(run, "megc2019_meu"))
    # of CASME II: disgust (and one more), repression, happiness, surprise, not others, fear, sadness
    asked = [id for id, _ in run["samples"]["megc2019_meu"]]
    found = [sum(id.startswith(f"{name}/") for id in asked) for name in ("casme2", "samm", "smic")]
    assert found == [2 * 4 + 1, 2 * 7 + 1, 2 * 3 + 1]
    assert run["config"].keys() == {"casme2", "samm", "smic"} and run["config"]["smic"]["test"]["clips"] == 7
    (warning,) = [text for text in run["warned"] if "MEGC 2019" in text]
    assert "31 of the 442 clips of the composite are prepared" in warning
    assert "casme2: 136 of 145 clips are missing: casme2/sub" in warning
    assert "samm: 118 of 133" in warning and "smic: 157 of 164" in warning


@pytest.mark.slow
def test_the_real_lmms_eval_finds_every_task_of_ours_beside_its_own(run: dict[str, Any]) -> None:
    texts = "\n".join(path.read_text(encoding="utf-8") for path in task_folder().rglob("*.yaml"))
    ours = re.findall(r"^(?:task|group): *([\w-]+) *$", texts, re.MULTILINE)
    assert {*ours, *OWN, "mme"} <= run["index"].keys()
    assert sorted(run["alone"]) == sorted([*ours, *OWN]), "the bases are no tasks"
    assert not [text for text in run["warned"] if text.startswith("mellm: ")]


@pytest.mark.slow
def test_in_python_absent_data_and_wrong_labels_are_exceptions_of_ours(run: dict[str, Any]) -> None:
    kind, text = run["absent_meu"]
    assert kind == "DataError" and text.endswith(prepare_command("absent"))
    kind, text = run["wrong_meu"]
    assert kind == "InputError" and "'angr' is neither a label nor a dataset. Did you mean 'anger'?" in text
    assert text.splitlines()[0].partition(": ")[0].endswith("wrong_meu.yaml") and run["slept"] == [], "not tried again"
    kind, text = run["absent_meu-my_meu-absent_emotion-gone_meu"]
    assert kind == "DataError"
    assert text.count(prepare_command("absent")) == 1 and text.endswith(prepare_command("gone"))


# ---- the commands ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_a_dataset_that_is_not_prepared_ends_the_command(processes: int, tmp_path: Path) -> None:
    prepare(tmp_path / "data", ["smic"])
    torchrun = ["torchrun", "--standalone", "--nproc_per_node", "2", "-m", "lmms_eval"]
    program = ["lmms-eval"] if processes == 1 else torchrun
    arguments = ["--model", "mellm", "--tasks", "synthme_meu,meu", "--limit", "2", "--output_path", "results"]
    done = user_commands.run([*program, *arguments], environment(tmp_path), tmp_path, code=1)
    told = done.stderr.partition("torch/distributed/elastic")[0]  # torchrun then tells of its own failure
    said = [line for line in told.splitlines() if "not prepared" in line and "elastic" not in line]
    assert len(said) == 2 and "'casme2'" in said[0] and "'samm'" in said[1]
    assert said[0].endswith(prepare_command("casme2"))
    if processes == 1:
        assert done.stderr.rstrip().endswith(prepare_command("samm"))
        assert "Traceback" not in done.stdout + done.stderr
    for text in ("Error during evaluation", "RetryError", "Running generate_until requests"):
        assert text not in done.stdout + done.stderr
    assert "not prepared" not in done.stdout and not list(tmp_path.rglob("*_results.json"))


def test_a_path_relative_to_the_task_file_is_known_while_it_is_loaded(tmp_path: Path) -> None:
    class Loader(yaml.SafeLoader):
        pass

    def import_function(loader: Any, node: Any) -> Any:
        return meu.yaml_folder()

    Loader.add_constructor("!function", import_function)
    (tmp_path / "task.yaml").write_text("folder: !function x\n")
    with (tmp_path / "task.yaml").open() as file:
        assert yaml.load(file, Loader)["folder"] == tmp_path
