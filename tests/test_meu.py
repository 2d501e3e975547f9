"""From clips to scores: the functions that task files name."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from judge_server import JudgeServer, verdict
from loguru import logger
from PIL import Image

from mellm_plugin import meu
from mellm_plugin.datasets import store, synthme
from mellm_plugin.datasets.catalogue import prepare_command
from mellm_plugin.datasets.sample import Sample
from mellm_plugin.errors import DataError, InputError, JudgeError, SettingsError
from mellm_plugin.facs.labels import COARSE, LABELS, coarse
from mellm_plugin.language.answers import read
from mellm_plugin.language.probabilities import with_probabilities
from mellm_plugin.language.prompts import fill_legend, frames_prompt, map_prompt
from mellm_plugin.motion.render import motion_map
from mellm_plugin.motion.settings import resolve
from mellm_plugin.scoring import metrics


def picture(seed: int, mode: str = "L") -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64), np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, "PNG")
    return file.getvalue()


def clip(
    number: int,
    emotion: str | None,
    aus: tuple[str, ...] | None,
    coarse_class: str | None = None,
    nose: tuple[float, float] | None = None,
) -> Sample:
    return Sample(
        id=f"toy/s{number % 2}/{number}",
        dataset="toy",
        subject=f"s{number % 2}",
        clip=str(number),
        onset=picture(number),
        apex=picture(number + 1, "P"),
        aus=aus,
        emotion=emotion,
        coarse=coarse_class or (coarse(emotion) if emotion else None),
        nose=nose,
    )


CLIPS = [
    clip(0, "disgust", ("4", "7")),
    clip(1, "happiness", ("R6/12", "L12")),
    clip(2, "others", ()),
    clip(3, "surprise", None),
    clip(4, "fear", ("4",)),
    clip(5, None, ("1", "2")),
]


def docs(clips: Sequence[Sample], folder: Path) -> Any:
    import datasets

    path = store.write("toy", {"test": clips}, {}, root=folder)
    return datasets.load_dataset(str(path), split="test", cache_dir=str(folder / "cache"))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return docs(CLIPS, tmp_path_factory.mktemp("toy"))


# ---- protocol -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "clips", "labels", "units"),
    [
        # 6 is nowhere for certain
        ({}, range(6), ["disgust", "fear", "happiness", "others", "surprise"], [1, 2, 4, 7, 12]),
        ({"aus": "least2"}, range(6), None, [4]),
        ({"aus": "least1", "asks": "aus"}, (0, 1, 2, 4, 5), [], [1, 2, 4, 7, 12]),
        # a clip without any label stays for its units; those of the clips left out do not count
        ({"labels": "disgust+happiness", "aus": "least1"}, (0, 1, 5), None, [1, 2, 4, 7, 12]),
        ({"labels": "disgust+surprise", "aus": "least1"}, (0, 3, 5), None, [1, 2, 4, 7]),
        ({"labels": "happiness+disgust", "aus": "12+4"}, (0, 1, 5), ["happiness", "disgust"], [12, 4]),
        ({"labels": "casme2", "aus": "8+46"}, range(6), list(LABELS["casme2"]), [8, 46]),
        # coarse classes, of which others has none
        ({"labels": "negative+positive+surprise"}, (0, 1, 3, 4, 5), None, [1, 2, 4, 7, 12]),
        # the clip without a label, or without units, cannot be asked about
        ({"asks": "emotion"}, range(5), None, []),
        ({"aus": "4+12+1", "asks": "aus"}, (0, 1, 2, 4, 5), [], [4, 12, 1]),
    ],
)
def test_a_protocol_chooses_clips_labels_and_units(
    toy: Any, given: dict[str, str], clips: Iterable[int], labels: list[str] | None, units: list[int]
) -> None:
    arguments = ", ".join(f"{name}={value}" for name, value in given.items())
    for asked in (meu.protocol(toy, **given), getattr(meu, f"protocol({arguments})")(toy)):
        assert asked["id"][:] == [f"toy/s{n % 2}/{n}" for n in clips]
        assert labels is None or asked[0]["labels"] == labels
        assert asked[0]["scored_aus"] == units and set(asked["asks"]) == {given.get("asks", "all")}


@pytest.mark.parametrize(
    ("given", "clips", "faults", "words"),
    [
        ({"labels": "disgusts+happines+fear"}, range(6), 2, "'disgusts' is neither.*Did you mean 'disgust'"),
        ({"labels": "contempt"}, (0, 1), 1, "no clip has one of the labels contempt; the clips have: disgust"),
        ({"aus": "4+AU7"}, range(6), 1, "expected a canonical code"),
        ({"aus": "3+8+99+6/12"}, range(6), 2, r"expected FACS numbers of the table \(1, 2, 4, .*, found 3, 99"),
        ({"aus": "least3"}, range(6), 1, "no unit is in at least 3 of the clips; the most frequent, 4, is in 2"),
        ({"aus": "least0"}, range(6), 1, "canonical code"),
        ({"labels": "angr", "aus": "AU7", "asks": "au"}, range(6), 3, "Did you mean 'aus'"),
        ({"aus": "4+7", "asks": "emotion"}, range(6), 1, r"expected no aus where asks=emotion, found '4\+7'"),
        ({"labels": "casme2", "asks": "aus"}, range(6), 1, "expected no labels where asks=aus, found 'casme2'"),
        ({"asks": "aus"}, (3,), 1, "no clip of toy has known action units"),
    ],
)
def test_a_protocol_reports_all_its_faults_at_once(
    toy: Any, given: dict[str, str], clips: Iterable[int], faults: int, words: str
) -> None:
    with pytest.raises(InputError, match=words) as error:
        meu.protocol(toy.select(clips), **given)
    assert len(error.value.faults) == faults


# ---- the expression alone, the units alone --------------------------------------------------------------------------


def test_the_expression_alone(toy: Any) -> None:
    asked = meu.protocol(toy, asks="emotion")
    assert meu.doc_to_text(asked[0]) == frames_prompt(asked[0]["labels"], "emotion")
    assert meu.doc_to_text(asked[0], {"prompt": "map"}) == map_prompt(asked[0]["labels"], asks="emotion")
    assert meu.doc_to_target(asked[0]) == "expression: disgust"
    (message,) = meu.doc_to_messages(asked[0])
    assert fill_legend(message["content"][-1]["map_text"], "standard") == map_prompt(asked[0]["labels"], asks="emotion")
    items = meu.process_results(asked[0], ["Disgust. AU4"])
    assert {"emotion_uf1", "coarse_uf1", "parse_rate", "motion_plausible_rate"} < items.keys()
    assert not [name for name in items if name.startswith("au_")]
    assert items["record"]["asks"] == "emotion" and meu.parse_rate([items["parse_rate"]]) == 1


def test_the_units_alone(toy: Any) -> None:
    asked = meu.protocol(toy, aus="4+12+1", asks="aus")
    assert meu.doc_to_text(asked[0]) == frames_prompt((), "aus")
    assert meu.doc_to_target(asked[1]) == "action units AU6/12+AU12 (left)"
    first, second = (meu.process_results(asked[n], [text]) for n, text in ((0, "AU4"), (1, "happiness")))
    scored = {"au_f1", "au_f1_micro", "au_exact", "au_side_acc", "au_parse_rate"}
    scored |= {"parse_rate", "answer_rate", "motion_plausible_rate"}
    more = {"au_f1_all_present", "au_side_count", "record", "scores_stderr", "ci95_stderr"}
    assert first.keys() == scored | {f"{name}_stderr" for name in scored} | more
    assert meu.parse_rate([first["parse_rate"], second["parse_rate"]]) == 0.5, "of the units alone"


# ---- the composite of three datasets --------------------------------------------------------------------------------


def test_the_composite_keeps_its_clips_and_says_what_differs(
    tmp_path: Path, log: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    monkeypatch.setenv("MELLM_DATA", str(tmp_path))
    of = {
        "casme2": (
            ("sub01", "EP19_05f", "disgust"),
            ("sub04", "EP12_01f", "disgust"),
            ("sub02", "EP13_04", "surprise"),
        ),
        "samm": (("006", "006_1_2", "anger"), ("006", "006_9_9", "anger")),
        "smic": (("s01", "s1_po_01", "negative"),),  # by the list positive
    }
    for name, rows in of.items():
        some = [
            replace(clip(n, label, None), id=f"{name}/{who}/{what}", dataset=name, subject=who, clip=what)
            for n, (who, what, label) in enumerate(rows)
        ]
        store.write(name, {"test": some}, {})
    files = getattr(meu, "files(casme2+samm+smic)")
    loaded = datasets.load_dataset("parquet", data_files={"test": files}, cache_dir=str(tmp_path / "cache"))["test"]
    asked = meu.composite(loaded)
    ids = ["casme2/sub01/EP19_05f", "casme2/sub02/EP13_04", "samm/006/006_1_2", "smic/s01/s1_po_01"]
    assert asked["id"][:] == ids
    assert asked[0]["labels"] == list(COARSE) and len(asked[0]["scored_aus"]) == 12
    absent, labels = log
    assert "4 of the 442 clips" in absent and "samm: 132 of 133 clips are missing: samm/6/006_1_3, " in absent
    assert "smic/s01/s1_po_01: positive, labelled negative" in labels and "sub01" not in labels
    assert asked["coarse"][:] == ["negative", "surprise", "negative", "positive"] and asked["emotion"][3] is None

    items = [
        meu.process_results(doc, [text]) for doc, text in zip(asked, ("fear", "fear", "hm", "positive"), strict=True)
    ]
    assert items[0]["coarse_uf1_casme2"] == items[0]["coarse_uf1"] and "coarse_uf1_samm" not in items[0]
    listed = {one["metric"]: one["aggregation"] for one in getattr(meu, "metrics(parts=casme2+samm+smic)")}
    found = listed["scores_stderr"]([item["record"] for item in items])
    assert not [name for name in (*listed, *found) if name.startswith("emotion_")]
    assert found["coarse_acc"]["value"] == found["coarse_acc_casme2"]["value"] == 0.5
    assert getattr(meu, "data_version(samm+smic)")["samm"]["test"]["clips"] == 2
    with pytest.raises(InputError, match="no clip belongs to the composite of casme2, samm, smic"):
        meu.composite(loaded.select([1, 4]))


def test_all_datasets_that_are_absent_are_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLM_DATA", str(tmp_path))
    store.write("samm", {"train": [clip(0, "fear", None)]}, {})
    with pytest.raises(DataError) as error:
        getattr(meu, "files(casme2+samm+smic)")
    casme2, samm, smic = str(error.value).splitlines()
    assert casme2.endswith(prepare_command("casme2")) and smic.endswith(prepare_command("smic"))
    assert samm == "the dataset 'samm' has no split 'test'; it has: train"


# ---- names with arguments -------------------------------------------------------------------------------------------


def test_names_with_arguments_are_late_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MELLM_DATA", str(tmp_path))
    store.write("mine", {"test": CLIPS}, {})
    assert getattr(meu, "data(mine)") == str(tmp_path / "mine")
    assert getattr(meu, "data_version(mine)")["test"]["clips"] == 6
    with pytest.raises(DataError, match="run: mellm prepare table --name mime"):
        getattr(meu, "data(mime)")
    wrong = ("files()", "files(a, b)", "table(a=b)", "protocol(ask=all)", "data()", "protocol(casme2)", "date(casme2)")
    for name in wrong:
        with pytest.raises(InputError, match=f"expected {name.partition('(')[0].replace('date', 'data')}"):
            getattr(meu, name)
    with pytest.raises(InputError, match=r"metrics: expected one of all, emotion, .*found 'emotions'. Did you mean"):
        getattr(meu, "metrics(emotions)")
    with pytest.raises(InputError, match="Did you mean 'au_f1'"):
        getattr(meu, "stderr(au_f)")
    with pytest.raises(InputError, match="known only while lmms-eval loads that file"):
        meu.yaml_folder()
    with pytest.raises(AttributeError):
        meu.no_such_name  # noqa: B018


# ---- messages -------------------------------------------------------------------------------------------------------


def test_message_of_two_marked_frames(toy: Any) -> None:
    doc = meu.protocol(toy, labels="casme2")[0]
    # as lmms-eval hands it over: the keys of `default` mixed with those of other models
    for kwargs in (None, {"default": {"prompt": "frames"}, "mellm": {"prompt": "map"}, "prompt": "frames"}):
        (message,) = meu.doc_to_messages(doc, kwargs)
        onset, apex, text = message["content"]
        assert (onset["frame"], apex["frame"]) == ("onset", "apex")
        assert all(item["url"].mode == "RGB" for item in (onset, apex))
        assert np.array_equal(np.asarray(onset["url"])[..., 0], np.asarray(doc["onset"]))
        assert text["text"] == frames_prompt(LABELS["casme2"]) == meu.doc_to_text(doc, kwargs)
        for palette in ("standard", "colour-blind"):
            assert fill_legend(text["map_text"], palette) == map_prompt(LABELS["casme2"], palette)


def test_the_nose_goes_with_the_onset_and_steers_a_map_drawn_by_the_task(tmp_path: Path) -> None:
    asked = meu.protocol(docs([clip(0, "fear", None, nose=(30.5, 34.0)), clip(1, "fear", None)], tmp_path))
    first, second = (meu.doc_to_messages(doc)[0]["content"] for doc in asked)
    assert first[0]["nose"] == [30.5, 34.0] and second[0]["nose"] is None
    assert "nose" not in first[1] and "nose" not in first[2]
    without = {name: value for name, value in asked[0].items() if name != "nose"}
    assert meu.doc_to_messages(without)[0]["content"][0]["nose"] is None, "datasets of others may not know it"
    settings = {"head": "nose", "estimator": "farneback", "doubt_px": 0}
    (shown,) = meu.doc_to_visual(asked[0], {"images": "map", "motion": settings})
    frames = asked[0]["onset"], asked[0]["apex"]
    expected = motion_map(*frames, resolve(settings), nose=(30.5, 34.0)).image
    assert np.array_equal(np.asarray(shown), expected)
    assert not np.array_equal(expected, motion_map(*frames, resolve(settings)).image)


def test_the_wording_for_maps_names_the_colours_of_the_map(toy: Any) -> None:
    """`prompt` is the wording alone, as mellm is recorded, which draws the map itself."""
    doc = meu.protocol(toy)[0]
    assert meu.doc_to_text(doc, {"prompt": "map"}) == map_prompt(doc["labels"])
    assert meu.doc_to_messages(doc, {"prompt": "map"})[0]["content"][-1]["text"] == frames_prompt(doc["labels"])
    shown = {"images": "map", "motion": {"palette": "colour-blind", "floor_px": 0.5}}
    picture, text = meu.doc_to_messages(doc, shown)[0]["content"]
    assert picture.keys() == {"type", "url"} and picture["url"].size == (64, 64)
    asked = map_prompt(doc["labels"], "colour-blind")
    assert text == {"type": "text", "text": asked}
    assert meu.doc_to_text(doc, shown) == meu.doc_to_text(doc, {**shown, "images": "frames", "prompt": "map"}) == asked
    assert len(meu.doc_to_visual(doc, {"images": "map"})) == 1 and len(meu.doc_to_visual(doc)) == 2
    with pytest.raises(SettingsError, match="(?s)Did you mean 'prompt'.*Did you mean 'map'"):
        meu.doc_to_text(doc, {"promt": "map", "images": "maps", "default": {}})


def test_targets_leave_out_what_is_not_known_and_can_be_read(toy: Any) -> None:
    asked = meu.protocol(toy)
    targets = [meu.doc_to_target(doc) for doc in asked]
    assert targets == [
        "action units AU4+AU7; expression: disgust",
        "action units AU6/12+AU12 (left); expression: happiness",
        "action units none; expression: others",
        "expression: surprise",
        "action units AU4; expression: fear",
        "action units AU1+AU2",
    ]
    answers = [read(target, asked[0]["labels"]) for target in targets]
    assert [dict(answer.sides) for answer in answers] == [{}, {12: "L"}, *[{}] * 4]
    assert [answer.aus for answer in answers] == [(4, 7), (6, 12), (), None, (4,), (1, 2)]
    assert [answer.label for answer in answers] == [c.emotion for c in CLIPS]


# ---- scores ---------------------------------------------------------------------------------------------------------


def flat(scores: dict[str, Any]) -> dict[str, Any]:
    """Nested scores as flat values, with `<metric>_stderr` and `ci95_stderr`."""
    found = {name: score["value"] for name, score in scores.items()}
    found |= {f"{name}_stderr": score["stderr"] for name, score in scores.items() if "stderr" in score}
    return found | {"ci95_stderr": {name: score["ci95"] for name, score in scores.items() if "ci95" in score}}


def scores(asked: Any, answers: Sequence[str]) -> dict[str, Any]:
    """As lmms-eval does it: one list of items for each metric that the task lists, and its aggregation."""
    results = [meu.process_results(doc, [answer]) for doc, answer in zip(asked, answers, strict=True)]
    for result in results:
        written = json.loads(json.dumps(result, default=str))
        assert written.pop("record") == result["record"] and set(written.values()) == {result["record"]["id"]}
    listed = {metric["metric"]: metric["aggregation"] for metric in meu.metrics}
    lists = {name: [result[name] for result in results if name in result] for name in listed}
    found = {name: of(lists[name]) for name, of in listed.items() if lists[name]}
    # lmms-eval shows the standard error that is computed after its metric
    order = [name for name in results[0] if name in listed and name != metrics.SCORES]
    assert all(name.removesuffix("_stderr") in order[:at] for at, name in enumerate(order) if "_stderr" in name)
    every = flat(found.pop(metrics.SCORES))
    assert found == {name: every[name] for name in found}, "rows are those scores"
    return every


def test_right_answers_score_one(toy: Any) -> None:
    asked = meu.protocol(toy, aus="1+2+4+7+12+17")
    found = scores(asked, [meu.doc_to_target(doc) for doc in asked])
    for name in ("emotion_uf1", "emotion_uar", "emotion_acc", "coarse_uf1", "au_f1", "au_f1_micro", "parse_rate"):
        assert found[name] == 1.0, name
    assert found["au_parse_rate"] == 1.0
    assert found["emotion_acc_majority"] == 1 / 5
    assert found["emotion_uf1_majority"] == pytest.approx(2 / 6 / 5)
    # all present: AU 4 is in two of the five clips coded, 1, 2, 7 and 12 in one each
    assert found["au_f1_all_present"] == pytest.approx((4 * 2 / 6 + 4 / 7) / 5)


def test_answers_that_cannot_be_read_are_wrong_and_counted(toy: Any) -> None:
    asked = meu.protocol(toy, labels="casme2", aus="1+2+4+7+12")
    found = scores(asked, ["hm", "AU12; happiness", "fear or disgust", "surprise", "AU4", "AU1"])
    # labels: happiness and surprise right; disgust, others and fear not readable
    assert found["emotion_acc"] == 2 / 5 and found["emotion_uf1"] == 2 / 5
    assert found["parse_rate"] == 2 / 5
    # classes: disgust and fear are negative, others has none
    assert found["coarse_acc"] == 2 / 4 and found["coarse_uf1"] == pytest.approx(2 / 3)
    # 1: hit; 2: missed; 4: one hit, one missed with the unreadable answer; 7: missed; 12: hit
    assert found["au_f1"] == pytest.approx((1 + 0 + 2 / 3 + 0 + 1) / 5)
    assert found["au_parse_rate"] == 3 / 5


def test_descriptions_are_judged_where_a_judge_is_set(
    toy: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    plain = meu.process_results(meu.protocol(toy)[0], ["AU4, disgust"])
    assert "description_score" not in plain and "judge_rate" not in plain

    def answer(text: str, before: int) -> str:
        if "BEGIN-" not in text:
            return "{}"
        return verdict(5, 5, 5, 5, 1) if "AU4" in text.rpartition("BEGIN-")[2] else "no"

    with JudgeServer(answer) as server:
        settings = {"MELLM_JUDGE": "local:m,requests=2,backoff=0.01", "MELLM_JUDGE_CACHE": str(tmp_path)}
        for name, value in {**server.environment("local"), **settings}.items():
            monkeypatch.setenv(name, value)
        asked = meu.protocol(toy)
        assert len(server.requests) == 1, "it is there, which is known before anything is asked"
        answers = ["AU4, disgust", "AU12, happiness", "AU4", "surprise", "fear", "AU1+AU2"]
        found = scores(asked, answers)
        items = [meu.process_results(doc, [given]) for doc, given in zip(asked, answers, strict=True)]
        sent = [body["messages"][-1]["content"] for body in server.requests[1:]]
        assert len(sent) == 2 + 2 * 2, "clips 3 and 5 have no units or label; a text is asked about twice at most"
        assert "either of them is right" in next(text for text in sent if "AU12, happiness" in text)
        assert "description_score" not in meu.process_results(meu.protocol(toy, asks="aus")[0], ["AU4"])
    assert found["description_score"] == 80 and found["judge_rate"] == 2 / 4
    # of the subjects, s0 has verdicts for two texts of three, s1 for none of one
    assert found["judge_rate_stderr"] > 0 and found["ci95_stderr"]["judge_rate"] == [0, 2 / 3]
    assert found["description_score_stderr"] is None and found["ci95_stderr"]["description_score"] is None
    first, second, *_, last = (item["record"]["judge"] for item in items)
    assert items[0]["description_score"]["id"] == "toy/s0/0"
    assert first["points"] == 80 and first["scores"]["grounded"] == 1
    assert second["points"] is None and second["unscored"]["kind"] == "not JSON"
    assert last["unscored"]["kind"] == "no reference" and last["requests"] == 0
    monkeypatch.setenv("LLM_JUDGE_URL", "http://127.0.0.1:9/v1/chat/completions")
    monkeypatch.setenv("MELLM_JUDGE", "local:another,requests=1")
    with pytest.raises(JudgeError, match="the judge local:another cannot be used: connection"):
        meu.protocol(toy)
    meu.protocol(toy, asks="emotion")  # which asks for no description


def test_standard_errors_and_intervals_are_over_subjects(toy: Any, log: list[str]) -> None:
    asked = meu.protocol(toy, labels="casme2", aus="1+2+4+7+12")
    found = scores(asked, ["disgust; AU4", "AU12; happiness", "others", "hm", "fear; AU4", "AU1"])
    # of the subjects, s0 has three clips read right of three, s1 one of two
    assert found["emotion_acc"] == 4 / 5
    low, high = found["ci95_stderr"]["emotion_acc"]
    assert (low, high) == (1 / 2, 1.0), "two subjects: one of them drawn twice, or the other"
    values = [1.0] * 1 + [4 / 5] * 2 + [1 / 2] * 1
    assert found["emotion_acc_stderr"] == pytest.approx(float(np.std(values)) * 2**0.5, abs=0.01)
    shown = {name.removesuffix("_stderr") for name in found if name.endswith("_stderr")} - {"ci95"}
    assert found["ci95_stderr"].keys() == shown
    assert not any(name.endswith(("_majority", "_present", "_count")) for name in shown)


def test_a_run_shows_few_rows_with_the_headline_first() -> None:
    rows = {kind: [one["metric"] for one in metrics.listed(kind)] for kind in metrics.SHOWN}
    for kind, names in rows.items():
        shown = [name for name in names if not name.endswith("_stderr")]
        assert shown == list(metrics.SHOWN[kind]) and len(shown) <= 8
        assert names == [*shown, *(f"{name}_stderr" for name in shown), "scores_stderr"]
    assert [one["metric"] for one in meu.metrics] == rows["all"]


def test_a_list_of_single_metrics_is_scored_too(toy: Any) -> None:
    """As task files of version 0.1 have it."""
    asked = meu.protocol(toy, labels="casme2", aus="1+2+4+7+12")
    answers = ["fear; AU4", "AU12; happiness", "hm", "surprise", "fear; AU4", "AU1"]
    every = scores(asked, answers)
    results = [meu.process_results(doc, [answer]) for doc, answer in zip(asked, answers, strict=True)]
    named = {"coarse_acc": "emotion_acc", "coarse_uf1_majority": "majority_uf1", "emotion_uf1_stderr": "stderr(uf1)"}
    named |= {name: name for name in ("emotion_uf1", "description_rate")}
    for metric, function in named.items():
        found = getattr(meu, function)([result[metric] for result in results if metric in result])
        assert found == every[metric], metric
    told = meu.ci95([result["ci95_stderr"] for result in results])
    assert {metric: told[metric] for metric in every["ci95_stderr"]} == every["ci95_stderr"]


class OfLmmsEval:
    """A task as lmms-eval calls its function: with the metrics that it lists."""

    def __init__(self, function: Any, *listed: str) -> None:
        self.config, self.listed = SimpleNamespace(process_results=function), listed

    def aggregation(self) -> dict[str, Any]:
        return dict.fromkeys(self.listed)

    def process_results(self, doc: Any, results: Sequence[str]) -> Any:
        return self.config.process_results(doc, results)


def test_a_samples_file_refers_to_records_for_the_listed_metrics_alone(toy: Any) -> None:
    doc = meu.protocol(toy)[0]
    ours = OfLmmsEval(meu.process_results, "emotion_uf1", "coarse_acc_stderr", "judge_rate")
    assert ours.process_results(doc, ["AU4"]).keys() == {"record", "emotion_uf1", "coarse_acc_stderr"}

    def of_a_user(doc: Any, results: Sequence[str]) -> dict[str, Any]:
        return {"mine": meu.process_results(doc, results)["emotion_acc"]}

    assert OfLmmsEval(of_a_user, "mine").process_results(doc, ["AU4"])["mine"]["gold"] == "disgust"


def test_sides_are_scored_where_the_sheet_has_them(toy: Any) -> None:
    asked = meu.protocol(toy, aus="1+2+4+7+12")
    found = scores(asked, ["AU4 (left)", "AU12 (left)", "", "", "AU4", "AU1"])
    assert (found["au_side_acc"], found["au_side_count"], found["ci95_stderr"]["au_side_acc"]) == (None, 0, None)
    docs = [{**doc, "aus": aus} for doc, aus in zip(asked, (["L4", "7"], ["R12", "L1"], None, ["L1"]), strict=False)]
    found = scores(docs, ["AU4 on the image's right; AU7 (left)", "AU12 (left), AU1", "AU4 (left)", "AU2 (left)"])
    # 4 right; 12 wrong; 1 named without a side, which is not right; 1 of the last clip not named
    assert found["au_side_acc"] == pytest.approx(1 / 3) and found["au_side_count"] == 3
    assert found["ci95_stderr"]["au_side_acc"] == [0.0, 1.0], "of s0 right, of s1 wrong"


def test_the_log_shows_every_label_and_unit_once(toy: Any) -> None:
    lines: list[str] = []
    handler = logger.add(lambda message: lines.append(str(message)), level="INFO", format="{message}")
    asked = meu.protocol(toy, labels="casme2", aus="1+2+4+7+12")
    scores(asked, ["fear; AU4", "AU12; happiness", "hm", "surprise", "fear; AU4", "AU1"])
    logger.remove(handler)
    (shown,) = [line for line in lines if line.startswith("scores\n")]
    assert "toy: 6 clips of 2 subjects; intervals of 95 % from 10,000 resamples" in shown
    rows = {row.split()[0]: row.split() for row in shown.split("emotion\n")[1].split("\n\n")[0].splitlines()[1:]}
    assert rows["fear"][1:5] == ["1", ".50", "1.00", ".67"] and rows["others"][-1] == "1", "not readable"
    assert shown.count("\ncoarse\n") == 1 and " 12      1       1.00    1.00  1.00" in shown


def test_without_annotation_there_is_no_score(toy: Any) -> None:
    found = scores(meu.protocol(toy.select([3]), aus="4"), ["surprise, AU4"])
    assert found["emotion_uf1"] == 1.0
    absent = ("au_f1", "au_f1_micro", "au_exact", "au_side_acc", "au_f1_all_present", "au_parse_rate")
    assert [found[name] for name in absent] == [None] * 6
    assert found["au_f1_stderr"] is None and found["ci95_stderr"]["au_f1"] is None
    assert found["emotion_uf1_stderr"] is None, "of one subject"
    found = scores(meu.protocol(toy.select([5]), labels="casme2"), ["surprise, AU1"])
    assert "emotion_uf1" not in found and found["parse_rate"] is None and found["au_f1"] == pytest.approx(1 / 2)
    assert found["parse_rate_stderr"] is None and found["ci95_stderr"]["parse_rate"] is None


def test_the_record_tells_all_about_a_clip(toy: Any) -> None:
    doc = meu.protocol(toy, aus="12")[1]
    record = meu.process_results(doc, ["Fear or surprise; AU6 on the right"])["record"]
    assert record.pop("facts")["claims"] == 0
    assert record == {
        "id": "toy/s1/1",
        "subject": "s1",
        "dataset": "toy",
        "asks": "all",
        "labels": ["disgust", "fear", "happiness", "others", "surprise"],
        "scored_aus": [12],
        "gold": {"aus": ["R6/12", "L12"], "label": "happiness", "emotion": "happiness", "coarse": "positive"},
        "read": {
            "aus": [6],
            "label": None,
            "coarse": None,
            "unparsed": "two different expressions: fear, surprise",
            "sides": {"6": "R"},
        },
        **{"probabilities": None, "heads": None, "unanswered": None},
        "doubts": record["doubts"],
        "motion_px": record["motion_px"],
        "judge": None,
    }


def test_probabilities_of_other_labels_than_the_asked_are_missing(toy: Any) -> None:
    doc = meu.protocol(toy, labels="casme2", asks="emotion")[0]
    labels = doc["labels"]
    own = {label: 1 / len(labels) for label in labels}
    for given, kept in ((own, own), (dict(list(own.items())[1:]) | {"joy": 1 / len(labels)}, None)):
        record = meu.process_results(doc, [with_probabilities("fear", given)])["record"]
        assert record["read"]["label"] == "fear"
        assert record["probabilities"] == (kept and pytest.approx(kept, abs=1e-6))


def test_an_answer_that_was_never_given_is_in_no_score_and_told_at_the_end(toy: Any, log: list[str]) -> None:
    asked = meu.protocol(toy, labels="casme2", aus="1+2+4+7+12")
    right = ["disgust; AU4", "AU12; happiness", "others", "surprise", "fear; AU4", "AU1; AU2"]
    failed = ["[LMMS_EVAL_REQUEST_FAILED after 3 retries] Error code: 503 - AU4, fear", "<think>AU12, happiness", ""]
    found = scores(asked, [*right[:3], *failed])
    assert found["answer_rate"] == 1 / 2 and found["ci95_stderr"]["answer_rate"] == [1 / 3, 2 / 3]
    whole = scores(asked.select([0, 1, 2]), right[:3])
    of_all = ("answer_rate", "motion_plausible_rate", "ci95")
    assert {name: value for name, value in found.items() if not name.startswith(of_all)} == {
        name: value for name, value in whole.items() if not name.startswith(of_all)
    }
    warning = next(line for line in log if "answer_rate" in line)
    assert "3 of 6 answers were never given" in warning and "request failed (HTTP 503): 1" in warning
    item = meu.process_results(asked[3], failed[:1])["record"]
    assert item["facts"] is item["judge"] is None
    assert item["unanswered"] == "request failed (HTTP 503)"
    assert item["read"] | {"sides": None} == dict.fromkeys(("aus", "label", "coarse", "sides")) | {
        "unparsed": "never given: request failed (HTTP 503)"
    }
    none = scores(asked, [""] * 6)
    assert none["answer_rate"] == 0 and none["parse_rate"] is None and "emotion_uf1" not in none


def test_the_claims_of_a_description_are_in_the_samples(tmp_path: Path) -> None:
    drawn = synthme.draw_clip(synthme.Face(4), np.random.default_rng(2), ("L12",), 1.5, emotion="happiness")
    asked = meu.protocol(docs([synthme.sample(drawn)], tmp_path), aus="12")
    text = "The lip corner on the image's right is pulled down, the lips part. Conclusion: AU12; happiness."
    items = meu.process_results(asked[0], [text])
    item = items["description_facts_f1"]
    assert (item["id"], item["subject"], item["gold"]) == (drawn.id, "s00", ["L12"])
    assert (item["claims"], item["right"], item["facts"], item["found"]) == (2, 0, 1, 0)
    down, part = item["said"]
    assert (down["region"], down["side"], down["motion"]) == ("mouth corners", "right", "down")
    assert (down["right"], down["contradicts"], part["text"]) == (False, True, "lips part")
    assert items["record"]["facts"] == {key: item[key] for key in item if key not in ("id", "subject")}
    unknown, outside = ({**asked[0], "nose": nose} for nose in (None, [-50, 900]))
    without = meu.process_results(unknown, [text])["description_facts_f1"]
    assert meu.process_results(outside, [text])["description_facts_f1"] == without


def test_the_nose_tip_tells_where_regions_are_in_frames_of_any_size(tmp_path: Path) -> None:
    drawn = synthme.draw_clip(synthme.Face(4), np.random.default_rng(2), ("5",), 1.5, emotion="surprise")
    doc = dict(meu.protocol(docs([synthme.sample(drawn)], tmp_path), aus="5")[0])
    text = ["The upper lids drop."]
    assert meu.process_results(doc, text)["description_facts_f1"]["said"][0]["contradicts"] is True
    large = {name: doc[name].resize((672, 672)) for name in ("onset", "apex")}
    placed = {**doc, **large, "nose": [3 * x + 1 for x in doc["nose"]]}
    assert meu.process_results(placed, text)["description_facts_f1"]["said"][0]["contradicts"] is True
    low = {**doc, "nose": [doc["nose"][0], doc["nose"][1] + 60]}
    assert meu.process_results(low, text)["description_facts_f1"]["said"][0]["contradicts"] is None


def test_facts_of_clips_whose_units_or_frames_are_not_known(toy: Any) -> None:
    found = scores(meu.protocol(toy.select([3]), aus="4"), ["The brows rise."])
    assert [found[f"description_facts_{name}"] for name in ("f1", "precision", "recall", "f1_majority")] == [None] * 4
    assert found["description_rate"] == 1 and found["description_facts_f1_stderr"] is None
    doc = meu.protocol(toy)[0]
    unseen = meu.process_results({**doc, "apex": doc["onset"]}, ["The brows rise."])["description_facts_f1"]
    assert unseen["decided"] == 0 and unseen["said"][0]["contradicts"] is None


# ---- plausible motion -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def moving(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Three drawn clips, the second without motion, the third of two people."""
    first, second, third = (synthme.sample(next(synthme.clips("plausible", 1, 1, number))) for number in (0, 10, 20))
    other = picture(5)
    clips = [first, replace(second, apex=second.onset), replace(third, onset=picture(7), apex=other)]
    clips = [replace(sample, emotion="fear", coarse="negative") for sample in clips]
    return meu.protocol(docs(clips, tmp_path_factory.mktemp("moving")), aus="4")


def test_doubts_about_the_motion_are_in_the_records_and_the_log(moving: Any, log: list[str]) -> None:
    items = [meu.process_results(doc, ["fear"])["record"] for doc in moving]
    assert items[0]["doubts"] == [] and items[0]["motion_px"] > 0
    assert all(item["motion_px"] is None for item in items[1:]), "of an implausible pair it is no strength of a face"
    assert items[1]["doubts"] == ["onset and apex are the same picture, pixel for pixel"]
    assert len(items[2]["doubts"]) >= 1
    assert scores(moving, ["fear"] * 3)["motion_plausible_rate"] == pytest.approx(1 / 3)
    said = "".join(log)
    assert f"{moving[1]['id']}: implausible motion: onset and apex are the same picture" in said
    assert moving[2]["id"] in said and moving[0]["id"] not in said
    # a nose tip outside the frame is a fault of settings that use it, not of the clip's motion
    assert meu.process_results({**moving[0], "nose": [-50, 900]}, ["fear"])["record"]["doubts"] == []


DAMAGED = {"apex": Image.open(io.BytesIO(picture(3)[:2000]))}


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ({"onset": Image.new("L", (64, 65))}, "of one size, found 64x65 and 64x64"),
        ({"onset": Image.new("L", (20, 20)), "apex": Image.new("L", (20, 20))}, "at least 32 px"),
        ({"onset": Image.new("F", (64, 64))}, "floating point"),
        (DAMAGED, "apex: the image cannot be read"),
    ],
)
def test_frames_that_cannot_be_used_are_a_doubt_and_no_crash(toy: Any, frames: dict[str, Any], reason: str) -> None:
    item = meu.process_results({**meu.protocol(toy)[0], **frames}, ["disgust"])["motion_plausible_rate"]
    assert len(item["doubts"]) == 1 and reason in item["doubts"][0]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("metrics(emotoin)", "expected one of all, emotion, aus, sensitivity or parts=.*Did you mean 'emotion'"),
        ("metrics(parts=)", "or parts=NAME.NAME, found 'parts='"),
        ("metrcs(all)", "found 'metrcs.all.'. Did you mean 'metrics'"),
        ("metrics(all, aus)", r"task file: expected metrics\(all\), .*, found 'metrics.all, aus.'"),
        ("stderr(uf2)", "Did you mean 'uf1'"),
        ("emotion_uf3", "has no attribute 'emotion_uf3'. Did you mean 'emotion_uf1'"),
    ],
)
def test_a_wrong_name_gets_a_hint(name: str, says: str) -> None:
    with pytest.raises((InputError, AttributeError), match=says):
        getattr(meu, name)
