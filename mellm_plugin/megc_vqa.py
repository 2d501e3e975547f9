"""What the task files of the MEGC ME-VQA challenge name: questions on clips, their answers, scores, and the submission.

    "What is the coarse expression class?"                             coarse     one of the coarse classes
    "What is the fine-grained expression class?"                       fine       one of the dataset's labels
    "What are the action units?"                                       units      a list of names
    "Is the action unit brow lowerer shown on the face?"               unit       yes or no
    "Is the action unit dimpler located on the left or right face?"    side       left or right
    "Please analyse the micro-expression shown in this video in detail."  combined   units and both classes in a text
    anything else                                                      other      scored as a text alone

The expected answer and the model's are read by the same reader. An answer that cannot be read is wrong, and counted in
`vqa_parse_rate`; an expected answer that cannot be read is left out of the score it would be for, and the log says so.
Every kind but coarse and fine is scored as a text too.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from loguru import logger

from mellm_plugin import __version__, meu
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
from mellm_plugin.language.prompts import VQA_PROMPT_VERSION, fill_legend, vqa_prompt
from mellm_plugin.language.thinking import without_thinking
from mellm_plugin.language.unanswered import unanswered, without_last_tokens
from mellm_plugin.language.vqa_answers import in_order_of, vqa_reading
from mellm_plugin.meu.messages import chat_message, doc_to_visual
from mellm_plugin.motion.settings import resolve
from mellm_plugin.scoring import vqa_metrics
from mellm_plugin.scoring.metrics import Item, Items, Scores, items, metric_list

Doc = Mapping[str, Any]

# ---- the data of the tasks ------------------------------------------------------------------------------------------

_CHALLENGE = ("casme2", "samm", "casme3")


def data(split: str) -> str:
    """The absolute folder of the prepared dataset, read through once.

    Args:
        split: the one that is asked: `labelled` or `test`.

    Raises:
        DataError: the dataset is not prepared, is damaged, or has no such questions; says what to do.
    """
    folder = str(meu.data(NAME))
    if split not in (splits := store.read_info(NAME)["splits"]):
        wanted = {LABELLED: "the challenge's files with answers", TEST: "its test files, and --videos"}[split]
        raise DataError(
            f"the dataset {NAME!r} has no split {split!r}, only {', '.join(splits)}; prepare it again with {wanted},"
            f" too: {prepare_command(NAME)} --replace"
        )
    return folder


def docs(clips: Any) -> Any:
    """The questions on the clips of one split: one row a question, with the columns of its clip and of the question.

    Args:
        clips: a `datasets.Dataset` of clips. Its images are not copied, however many questions share them.

    Returns:
        a `datasets.Dataset` with these columns more: `question`; `answer` (null in test files); `kind`; `unit` (number
        of the one unit that is asked about, or null); `coarse_labels` and `fine_labels` to choose from; `file`; `line`.
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
    # slices, not `select`: adding a column to a selection would write every clip's frames once for each question
    rows = pa.concat_tables([table.slice(place[str(question.clip)], 1) for question in asked])
    for field, (_, values) in zip(added.arrow_schema, columns.values(), strict=True):
        rows = rows.append_column(field, pa.array(values, field.type))
    info = clips.info.copy()
    info.features = Features({**clips.features, **added})
    _tell(asked, columns)
    return Dataset(
        rows.replace_schema_metadata(None), info=info, split=clips.split, fingerprint=clips._fingerprint + "q"
    )


def _coarse_labels(asked: Sequence[Question]) -> list[str]:
    """The three classes, and what else is given as one in the expected answers (`others`)."""
    given = [_as_label(question.answer) for question in asked if question.kind == "coarse" and question.answer]
    return list(dict.fromkeys((*COARSE, *sorted(given))))


def _fine_labels(asked: Sequence[tuple[Question, str]]) -> dict[str, list[str]]:
    """By dataset its labels, and what else is given as one in the expected answers."""
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


def _tell(asked: Sequence[Question], columns: Mapping[str, tuple[Any, list[Any]]]) -> None:
    """What of the questions cannot be scored as their kind."""
    if other := sorted({question.text for question in asked if question.kind == "other"}):
        logger.warning("{} questions of no known kind, scored as texts alone: {}", len(other), "; ".join(other[:5]))
    unreadable: dict[str, list[str]] = defaultdict(list)
    for number, question in enumerate(asked):
        if question.answer is None or question.kind == "other":
            continue
        doc = {name: values[number] for name, (_, values) in columns.items()}
        if None in reading(doc, question.answer).values():
            unreadable[question.kind].append(f"{question.file}, line {question.line}: {question.answer!r}")
    for kind, answers in unreadable.items():
        logger.warning(
            "{} expected answers to questions of kind {} cannot be read in full; they are left out of the scores of "
            "what is missing in them: {}",
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


def doc_to_messages(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """One chat message with the images and the question; see `meu.messages.chat_message`."""
    images = doc_to_visual(doc, lmms_eval_specific_kwargs)
    if len(images) == 1:
        return chat_message(doc, images, doc_to_text(doc, lmms_eval_specific_kwargs), "")
    return chat_message(doc, images, _wording(doc, "frames"), _wording(doc, "map"))


def doc_to_target(doc: Doc) -> str:
    """The expected answer; empty where there is none."""
    return doc["answer"] or ""


# ---- an answer becomes a reading ------------------------------------------------------------------------------------


def reading(doc: Doc, answer: str) -> dict[str, Any]:
    """What an answer says, by the kind of its question (`language.vqa_answers.vqa_reading`).

    Args:
        doc: a row of `docs`: its kind, unit and labels.
        answer: of the model, or the expected one.
    """
    return vqa_reading(answer, doc["kind"], doc["coarse_labels"], doc["fine_labels"], doc["unit"])


def process_results(doc: Doc, results: Sequence[str]) -> dict[str, Any]:
    """The record of a question and its answer, and what each metric needs of it (`scoring.metrics.items`).

    A record has id, subject, dataset, kind, file and line of the question; what was read in the expected answer
    (`gold`, None without one) and in the model's (`read`); why no answer was ever given (`unanswered`); the expected
    text (`expected`); and the answer in the form of the challenge's files (`submitted`, None where unanswered).
    `vqa_submission_complete` has the record of each test question that was answered.
    """
    answer, why = results[0], unanswered(results[0])
    record = {
        **{name: doc[name] for name in ("id", "subject", "dataset", "kind", "file", "line")},
        "gold": None if doc["answer"] is None else reading(doc, doc["answer"]),
        "read": reading(doc, answer if why is None else ""),
        "unanswered": why,
        "expected": doc["answer"],
        "submitted": submitted(doc, answer) if why is None else None,
    }
    if doc["answer"] is not None:
        return items(record, vqa_metrics.QUESTIONS)
    handed_in = {} if why is not None else {"vqa_submission_complete": Item(record)}
    return {**items(record, vqa_metrics.TEST), **handed_in}


def submitted(doc: Doc, answer: str) -> str:
    """The answer in the form of the challenge's files, which is handed in and scored as a text.

    Of a class, a side, or yes and no it is the one word that was read; of a list of units their names, in the order in
    which the model gave them. Where a text is asked for, or nothing can be read, it is what the model gave, without
    its thoughts and the special tokens behind it.
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


# ---- the submission -------------------------------------------------------------------------------------------------


def submission(records: Items, args: Any = None) -> float | None:
    """Write the submission, and tell where: each test file again, every line in its order with its `answer`.

    The files go to `<output_path>/submissions/<date and time>/`, `x_to_answer.jsonl` to `x_pred.jsonl`. A file with
    questions that were not answered is called `x_pred.incomplete.jsonl` instead, and has null for their answers.

    Args:
        records: of the questions that were answered.
        args: of the command line; None in Python, then the current folder stands for `output_path`.

    Returns:
        share of the test questions that were answered.
    """
    answers = {(record["file"], record["line"]): record["submitted"] for record in records}
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
                "INCOMPLETE submission {}: {} of {} questions have no answer, {} of them because their clip could not "
                "be prepared (see `skipped` in {}); the others were not asked (run without --limit and --offset) "
                "or never answered (see answer_rate)",
                *(path, len(lacking), len(questions), unprepared, store.dataset_dir(NAME) / "info.json"),
            )
        else:
            logger.info("submission of {} answers: {}", len(questions), path)
    total = sum(map(len, files.values()))
    return answered / total if total else None


def _new_folder(output: Path) -> Path:
    """A folder for one submission: an earlier one is never overwritten."""
    stamp = datetime.now().strftime("%Y%m%d_%H%M%S_%f")
    folder = output / "submissions" / stamp
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        folder = Path(tempfile.mkdtemp(prefix=f"megc_vqa_{stamp}_"))  # answers may have taken hours
        logger.error("the submission cannot be written to {} ({}); it is written to {}", output, error, folder)
    return folder.absolute()


# ---- names that task files compute late ----------------------------------------------------------------------------


def __getattr__(name: str) -> Any:
    # `!function` in YAML names an attribute of this module; these are computed when lmms-eval loads the task
    match name:
        case "data_labelled" | "data_test":
            return data(name.removeprefix("data_"))
        case "metadata":
            version = {"version": 1.0, "package": __version__, "wording": VQA_PROMPT_VERSION}
            return {**version, "data": meu.data_version(NAME)}
        case "metrics":
            return metric_list(vqa_metrics.SHOWN, vqa_metrics.QUESTIONS)
        case "metrics(test)":
            row = {"metric": "vqa_submission_complete", "aggregation": submission, "higher_is_better": True}
            return [row, *metric_list(("vqa_parse_rate", "answer_rate"), vqa_metrics.TEST)]
        case "ci95":
            return _ci95
    if name in _AGGREGATIONS:
        return next(metric.noted for metric in vqa_metrics.QUESTIONS if metric.name == _AGGREGATIONS[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_AGGREGATIONS = {
    "unit_f1": "vqa_au_list_f1",
    "unit_f1_micro": "vqa_au_list_f1_micro",
    "accuracy": "vqa_au_list_exact",
    "majority_accuracy": "vqa_au_shown_acc_majority",
    **{name: f"vqa_{name}" for name in ("bleu4_corpus", "bleu4_sentence_mean", "rouge1_f1", "rouge1_recall")},
    "parse_rate": "vqa_parse_rate",
}
"""Names of aggregations in task files that list single metrics."""


def _ci95(records: Items) -> dict[str, Any]:
    """The aggregation of `ci95_stderr` in task files that list single metrics."""
    found = Scores(vqa_metrics.QUESTIONS)(records)
    return {name: score["ci95"] for name, score in found.items() if "ci95" in score}
