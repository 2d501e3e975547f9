"""What the task files of the MEGC ME-VQA challenge name: questions about clips, their answers, and the submission.

    "What is the coarse expression class?"                             coarse     one of the coarse classes
    "What is the fine-grained expression class?"                       fine       one of the dataset's labels
    "What are the action units?"                                       units      a list of names
    "Is the action unit brow lowerer shown on the face?"               unit       yes or no
    "Is the action unit dimpler located on the left or right face?"    side       left or right
    "Please analyse the micro-expression shown in this video in detail."  combined   units and both classes in a text
    anything else                                                      other      scored as a text alone

The same reader reads the expected answer and the model's. An answer that cannot be read is wrong, and `vqa_parse_rate`
counts it. A score leaves out the questions whose expected answer cannot be read, and the log lists them. Every kind but
coarse and fine is scored as a text too. The scores are declared in `scoring.vqa_metrics`.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from loguru import logger
from PIL import Image

from mellm_plugin import meu
from mellm_plugin.datasets import store
from mellm_plugin.datasets.catalogue import prepare_command
from mellm_plugin.datasets.megc_vqa import (
    LABELLED,
    NAME,
    TEST,
    Question,
    stored_questions,
    unit_asked,
    unit_name,
)
from mellm_plugin.errors import DataError
from mellm_plugin.facs.labels import COARSE, canonical_label, labels_of
from mellm_plugin.language.prompts import fill_legend, vqa_prompt
from mellm_plugin.language.thinking import without_thinking
from mellm_plugin.language.unanswered import unanswered, without_last_tokens
from mellm_plugin.language.vqa_answers import in_order_of, vqa_reading
from mellm_plugin.motion.settings import resolve
from mellm_plugin.scoring import emotion, summary, text, units
from mellm_plugin.scoring.intervals import RESAMPLES

Doc = Mapping[str, Any]
Items = Sequence[Mapping[str, Any]]

# ---- the data of the tasks ------------------------------------------------------------------------------------------

_CHALLENGE = ("casme2", "samm", "casme3")


def data(split: str) -> str:
    """The absolute folder of the prepared dataset, after its files are checked.

    Args:
        split: `labelled` or `test`.

    Raises:
        DataError: the dataset is not prepared, is damaged, or has no such questions; the message has the command.
    """
    folder = meu.data(NAME)
    if split not in (splits := store.read_info(NAME)["splits"]):
        wanted = {LABELLED: "the challenge's files with answers", TEST: "its test files, and --videos"}[split]
        raise DataError(
            f"the dataset {NAME!r} has no split {split!r}, only {', '.join(splits)}; prepare it again with {wanted} "
            f"too: {prepare_command(NAME)} --replace"
        )
    return folder


def docs(clips: Any) -> Any:
    """The questions about the clips of one split: a row for each question, with the columns of its clip.

    Args:
        clips: a `datasets.Dataset` of clips. Its images are not copied, however many questions share them.

    Returns:
        a `datasets.Dataset` with further columns: `question`; `answer` (null in test files); `kind`; `unit` (the number
        of the one unit in question, or null); `coarse_labels` and `fine_labels` to choose from; `file`; `line`.
    """
    import pyarrow as pa
    from datasets import Dataset, Features, Value
    from datasets import Sequence as SequenceFeature

    place = {id: position for position, id in enumerate(clips["id"])}
    asked = [question for question in stored_questions() if question.clip in place]
    datasets = clips["dataset"]
    coarse_labels = _coarse_labels(asked)
    fine_labels = _fine_labels([(question, datasets[place[str(question.clip)]]) for question in asked])
    columns: dict[str, tuple[Any, list[Any]]] = {
        "question": (Value("string"), [question.text for question in asked]),
        "answer": (Value("string"), [question.answer for question in asked]),
        "kind": (Value("string"), [question.kind for question in asked]),
        "unit": (Value("int64"), [unit_asked(question.text) for question in asked]),
        "coarse_labels": (SequenceFeature(Value("string")), [coarse_labels] * len(asked)),
        "fine_labels": (
            SequenceFeature(Value("string")),
            [fine_labels[datasets[place[str(question.clip)]]] for question in asked],
        ),
        "file": (Value("string"), [question.file for question in asked]),
        "line": (Value("int64"), [question.line for question in asked]),
    }
    added = Features({name: feature for name, (feature, _) in columns.items()})
    table = clips.with_format("arrow")[:]
    # slices, not `select`: adding a column to a selection writes a clip's frames once for each question
    rows = pa.concat_tables([table.slice(place[str(question.clip)], 1) for question in asked])
    for field, (_, values) in zip(added.arrow_schema, columns.values(), strict=True):
        rows = rows.append_column(field, pa.array(values, field.type))
    info = clips.info.copy()
    info.features = Features({**clips.features, **added})
    _warn_unscored(asked, columns)
    return Dataset(
        rows.replace_schema_metadata(None), info=info, split=clips.split, fingerprint=clips._fingerprint + "q"
    )


def _coarse_labels(asked: Sequence[Question]) -> list[str]:
    """The three classes, and other classes that occur in the expected answers (`others`)."""
    given = [_as_label(question.answer) for question in asked if question.kind == "coarse" and question.answer]
    return list(dict.fromkeys((*COARSE, *sorted(given))))


def _fine_labels(asked: Sequence[tuple[Question, str]]) -> dict[str, list[str]]:
    """By dataset its labels, and other labels that occur in the expected answers."""
    labels: dict[str, list[str]] = {}
    for dataset in {dataset for _, dataset in asked}:
        own = labels_of(dataset) or tuple(sorted({label for name in _CHALLENGE for label in labels_of(name)}))
        given = [
            _as_label(question.answer)
            for question, of in asked
            if of == dataset and question.kind == "fine" and question.answer
        ]
        labels[dataset] = list(dict.fromkeys((*own, *sorted(given))))
    return labels


def _as_label(answer: str) -> str:
    plain = " ".join(re.findall(r"[^\W_]+", answer.lower()))
    return canonical_label(plain) or plain


def _warn_unscored(asked: Sequence[Question], columns: Mapping[str, tuple[Any, list[Any]]]) -> None:
    """Warn of questions that cannot be scored as their kind."""
    if other := sorted({question.text for question in asked if question.kind == "other"}):
        logger.warning("{} questions of no known kind are scored as texts only: {}", len(other), "; ".join(other[:5]))
    unreadable: dict[str, list[str]] = defaultdict(list)
    for number, question in enumerate(asked):
        if question.answer is None or question.kind == "other":
            continue
        doc = {name: values[number] for name, (_, values) in columns.items()}
        if None in reading(doc, question.answer).values():
            unreadable[question.kind].append(f"{question.file}, line {question.line}: {question.answer!r}")
    for kind, answers in unreadable.items():
        logger.warning(
            "{} expected answers to questions of kind {} cannot be read in full; the scores of what is missing leave "
            "them out: {}",
            *(len(answers), kind, "; ".join(answers[:5])),
        )


# ---- a question becomes a message -----------------------------------------------------------------------------------


def doc_to_text(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> str:
    """The question alone, for models that take images and text apart."""
    shown = lmms_eval_specific_kwargs or {}
    if shown.get("prompt", shown.get("images")) == "map":
        return fill_legend(_wording(doc, "map"), resolve(shown.get("motion", "robust")).palette)
    return _wording(doc, "frames")


def _wording(doc: Doc, images: Literal["frames", "map"]) -> str:
    return vqa_prompt(doc["question"], doc["kind"], doc["coarse_labels"], doc["fine_labels"], images)


def doc_to_visual(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> list[Image.Image]:
    """The images alone: onset and apex, or the motion map."""
    return meu.doc_to_visual(doc, lmms_eval_specific_kwargs)


def doc_to_messages(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """One chat message with the images and the question, marked for models that draw the map as in `meu`."""
    images: list[dict[str, Any]] = [
        {"type": "image", "url": image} for image in doc_to_visual(doc, lmms_eval_specific_kwargs)
    ]
    if len(images) == 1:
        asked = {"type": "text", "text": doc_to_text(doc, lmms_eval_specific_kwargs)}
    else:
        asked = {"type": "text", "text": _wording(doc, "frames"), "map_text": _wording(doc, "map")}
        for image, frame in zip(images, ("onset", "apex"), strict=True):
            image["frame"] = frame
        images[0]["nose"] = doc.get("nose")
    return [{"role": "user", "content": [*images, asked]}]


def doc_to_target(doc: Doc) -> str:
    """The expected answer; empty where there is none."""
    return doc["answer"] or ""


# ---- an answer becomes a reading ------------------------------------------------------------------------------------


def reading(doc: Doc, answer: str) -> dict[str, Any]:
    """What an answer says, depending on the kind of its question (`language.vqa_answers.vqa_reading`).

    Args:
        doc: a row of `docs`.
        answer: the model's or the expected answer.
    """
    return vqa_reading(answer, doc["kind"], doc["coarse_labels"], doc["fine_labels"], doc["unit"])


SCORES: dict[tuple[str, str], tuple[str, ...]] = {
    ("coarse", "coarse"): ("vqa_coarse_uf1", "vqa_coarse_uar", "vqa_coarse_uf1_majority"),
    ("fine", "fine"): ("vqa_fine_uf1", "vqa_fine_uar", "vqa_fine_uf1_majority"),
    ("combined", "coarse"): ("vqa_combined_coarse_uf1", "vqa_combined_coarse_uar"),
    ("combined", "fine"): ("vqa_combined_fine_uf1", "vqa_combined_fine_uar"),
    ("combined", "units"): ("vqa_combined_au_f1_micro",),
    ("units", "units"): ("vqa_au_list_f1", "vqa_au_list_f1_micro", "vqa_au_list_exact"),
    ("unit", "shown"): ("vqa_au_shown_acc", "vqa_au_shown_acc_majority"),
    ("side", "side"): ("vqa_au_side_acc", "vqa_au_side_acc_majority"),
}
"""The metrics of each thing that is read in the answers to each kind of question; the first stands for all of them."""

TEXT = ("vqa_bleu4_corpus", "vqa_bleu4_sentence_mean", "vqa_rouge1_f1", "vqa_rouge1_recall")
_PARSED, _GIVEN = ("vqa_parse_rate",), ("answer_rate",)

INTERVALS: dict[str, str] = {
    **{f"vqa_{of}_{score}": score for of in ("coarse", "fine") for score in ("uf1", "uar")},
    **{f"vqa_combined_{of}_{score}": score for of in ("coarse", "fine") for score in ("uf1", "uar")},
    **dict.fromkeys(("vqa_au_list_exact", "vqa_au_shown_acc", "vqa_au_side_acc"), "match"),
    **dict.fromkeys(("vqa_au_list_f1_micro", "vqa_combined_au_f1_micro"), "list_f1_micro"),
    "vqa_au_list_f1": "list_f1",
    **{metric: metric.removeprefix("vqa_") for metric in TEXT},
    "vqa_parse_rate": "read_in_full",
    "answer_rate": "answer_rate",
}
"""Every metric but the constant ones, and the score of `scoring.summary` that its interval is of."""


def process_results(doc: Doc, results: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What was read from an answer, as the items that each metric is computed from.

    `vqa_parse_rate` holds everything about the question and its answer, for reports. An answer that was never given has
    its reason in `answer_rate`, and no item in any score and no line of the submission. A question without an expected
    answer has beside it only its line of the submission; there are no intervals then, for nothing tells the faces of
    test videos apart. `<metric>_stderr` has the item of its metric, and `ci95_stderr` those of all of them.
    """
    answer, why = results[0], unanswered(results[0])
    said = reading(doc, answer if why is None else "")
    asked = {name: doc[name] for name in ("id", "subject", "dataset", "kind", "file", "line")}
    expected = None if doc["answer"] is None else reading(doc, doc["answer"])
    items: dict[str, dict[str, Any]] = {
        "vqa_parse_rate": {**asked, "gold": expected, "read": said, "unanswered": why},
        "answer_rate": {"id": doc["id"], "subject": doc["subject"], "unanswered": why},
    }
    if expected is None:
        line = {"vqa_submission_complete": {**asked, "answer": submitted(doc, answer)}}
        return items | line if why is None else items
    for (kind, thing), metrics in SCORES.items():
        if kind == doc["kind"] and expected[thing] is not None and why is None:
            item = {**asked, "gold": expected[thing], "read": said[thing]}
            items |= dict.fromkeys(metrics, item)
    if doc["kind"] not in ("coarse", "fine") and why is None:
        item = {**asked, "gold": doc["answer"], "read": submitted(doc, answer)}
        items |= dict.fromkeys(TEXT, item)
    errors = {f"{metric}_stderr": item for metric, item in items.items() if metric in INTERVALS}
    shown = {group[0]: items[group[0]] for group in _GROUPS if group[0] in items}
    return {**items, **errors, "ci95_stderr": shown}


_GROUPS = (*SCORES.values(), TEXT, _PARSED, _GIVEN)
"""Metrics with the same items."""


def submitted(doc: Doc, answer: str) -> str:
    """The answer in the form of the challenge's files, for the submission and the scores of texts.

    A class, a side, yes or no becomes the word that was read; a list of units becomes their names, in the order of the
    answer. Where the question asks for a text, or nothing can be read, it is the answer without the model's thoughts
    and without special tokens at its end.
    """
    match reading(doc, answer):
        case {"shown": bool(shown)}:
            return "yes" if shown else "no"
        case {"units": list(numbers)} if doc["kind"] == "units":
            return ", ".join(map(unit_name, in_order_of(answer, numbers))) or "none"
        case {"coarse": str(word)} | {"fine": str(word)} | {"side": str(word)} if doc["kind"] != "combined":
            return word
        case _:
            return without_last_tokens(without_thinking(answer))


# ---- readings become scores -----------------------------------------------------------------------------------------


def _unit_scores(items: Items) -> units.UnitScores:
    scored = sorted({unit for item in items for unit in item["gold"]})
    return units.score([[(unit,) for unit in item["gold"]] for item in items], [i["read"] for i in items], scored)


def unit_f1(items: Items) -> float | None:
    """Binary F1 of each action unit that occurs in the expected answers, and their mean."""
    return _unit_scores(items).mean


def unit_f1_micro(items: Items) -> float | None:
    """F1 of all action units that occur in the expected answers together."""
    return _unit_scores(items).micro


def accuracy(items: Items) -> float | None:
    """Share of the answers in which exactly the expected was read."""
    return sum(item["gold"] == item["read"] for item in items) / len(items) if items else None


def majority_accuracy(items: Items) -> float | None:
    """What `accuracy` is when every answer is the most frequent of the expected ones."""
    return max(Counter(item["gold"] for item in items).values()) / len(items) if items else None


def _texts(items: Items) -> text.TextScores:
    return text.score([item["read"] for item in items], [item["gold"] for item in items])


def bleu4_corpus(items: Items) -> float | None:
    """Corpus BLEU of all answers that are scored as texts, in 0..1; see `scoring.text`."""
    scores = _texts(items)
    logger.info("vqa_bleu4_corpus: {} answers, {} of them empty; {}", scores.answers, scores.empty, scores.signature)
    return scores.bleu4_corpus


def bleu4_sentence_mean(items: Items) -> float | None:
    """Mean of the sentence BLEUs, in 0..1."""
    return _texts(items).bleu4_sentence_mean


def rouge1_f1(items: Items) -> float | None:
    """Mean F1 of ROUGE-1."""
    return _texts(items).rouge1_f1


def rouge1_recall(items: Items) -> float | None:
    """Mean recall of ROUGE-1."""
    return _texts(items).rouge1_recall


def parse_rate(items: Items) -> float | None:
    """Share of the answers that were given of which all that was asked could be read; questions of no known kind are
    left out."""
    read_in_full: dict[str, list[bool]] = defaultdict(list)
    for item in items:
        if item["kind"] != "other" and item.get("unanswered") is None:
            read_in_full[item["kind"]].append(None not in item["read"].values())
    for kind, whole in read_in_full.items():
        if not all(whole):
            logger.info("vqa_parse_rate: {} of {} answers of kind {} could be read", sum(whole), len(whole), kind)
    every = [one for whole in read_in_full.values() for one in whole]
    return sum(every) / len(every) if every else None


def ci95(items: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, list[float] | None]:
    """Both ends of the 95 % interval of every metric, for the results file; the log gets them with the scores.

    Args:
        items: of each question its items, by the first metric of those that share them.
    """
    found: dict[str, list[float] | None] = {}
    lines = [f"intervals of 95 % from {RESAMPLES:,} resamples of the subjects"]
    for group in _GROUPS:
        shared = [item[group[0]] for item in items if group[0] in item]
        for metric in group if shared else ():
            if metric in INTERVALS:
                one = summary.interval(INTERVALS[metric], shared)
                found[metric] = summary.ends(one)
                value, low, high = (emotion.share(number, 3) for number in (one.value, one.low, one.high))
                lines.append(f"{metric:28}  {value:>5}  {'–' if one.low is None else f'{low} to {high}'}")
    logger.info("scores\n{}", "\n".join(lines))
    return found


# ---- the submission -------------------------------------------------------------------------------------------------


def submission(items: Items, args: Any = None) -> float | None:
    """Write the submission and log its path: the lines of each test file, in their order, with their `answer`.

    `x_to_answer.jsonl` becomes `<output_path>/submissions/<date and time>/x_pred.jsonl`. A file with unanswered
    questions becomes `x_pred.incomplete.jsonl`, with null for their answers.

    Args:
        items: the lines that were answered.
        args: of the command line, with `output_path`; None in Python, which means the current folder.

    Returns:
        the share of the test questions that were answered.
    """
    answers = {(item["file"], item["line"]): item["answer"] for item in items}
    files: dict[str, list[Question]] = defaultdict(list)
    for question in stored_questions():
        if question.split == TEST:
            files[question.file].append(question)
    folder = _new_folder(Path(getattr(args, "output_path", None) or "."))
    answered = 0
    for name, questions in files.items():
        lines = [{**q.row, "answer": answers.get((q.file, q.line))} for q in questions]
        lacking = [q for q in questions if (q.file, q.line) not in answers]
        answered += len(questions) - len(lacking)
        stem = name.removesuffix(".jsonl").removesuffix("_to_answer")
        path = folder / f"{stem}_pred{'.incomplete' if lacking else ''}.jsonl"
        part = path.with_suffix(".part")
        part.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), encoding="utf-8")
        part.replace(path)
        if lacking:
            unprepared = sum(q.clip is None for q in lacking)
            logger.error(
                "INCOMPLETE submission {}: {} of {} questions have no answer; the clips of {} of them could not be "
                "prepared (see `skipped` in {}), the others were not asked (run without --limit and --offset) or never "
                "answered (see answer_rate)",
                *(path, len(lacking), len(questions), unprepared, store.dataset_dir(NAME) / "info.json"),
            )
        else:
            logger.info("submission of {} answers: {}", len(questions), path)
    total = sum(map(len, files.values()))
    return answered / total if total else None


def _new_folder(output: Path) -> Path:
    """A new folder for one submission; earlier ones are never overwritten."""
    stamp = datetime.now().strftime("%Y%m%d_%H%M%S_%f")
    folder = output / "submissions" / stamp
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        folder = Path(tempfile.mkdtemp(prefix=f"megc_vqa_{stamp}_"))  # answers may have taken hours
        logger.error("the submission cannot be written to {} ({}); it is in {}", output, error, folder)
    return folder.absolute()


# ---- late names -----------------------------------------------------------------------------------------------------


def __getattr__(name: str) -> Any:
    # as in `meu`: `!function` in YAML is getattr on this module
    if name in ("data_labelled", "data_test"):
        return data(name.removeprefix("data_"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
