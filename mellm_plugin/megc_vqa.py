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
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from loguru import logger

from mellm_plugin import __version__, meu
from mellm_plugin.datasets import store
from mellm_plugin.datasets.catalogue import prepare_command
from mellm_plugin.datasets.vqa_questions import LABELLED, NAME, TEST, Question, stored_questions, unit_asked, unit_name
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


def data(split: str) -> str:
    """The absolute folder of the prepared dataset with the questions of a split, after its files are checked.

    Raises DataError with the command if it is not prepared, is damaged, or has no such questions.
    """
    folder = str(meu.data(NAME))
    if split not in (splits := store.read_info(NAME)["splits"]):
        wanted = {LABELLED: "the challenge's files with answers", TEST: "its test files, and --videos"}[split]
        found = f"the dataset {NAME!r} has no split {split!r}, only {', '.join(splits)}"
        raise DataError(f"{found}; prepare it again with {wanted} too: {prepare_command(NAME)} --replace")
    return folder


def docs(clips: Any) -> Any:
    """The questions about the clips of one split: a row for each question, with the columns of its clip.

    Further columns: `question`; `answer` (null in test files); `kind`; `unit` (the number of the one unit in question,
    or null); `coarse_labels` and `fine_labels` to choose from; `file`; `line`. Images are not copied, however many
    questions share them.
    """
    import pyarrow as pa
    from datasets import Dataset, Features, Value
    from datasets import Sequence as SequenceFeature

    place = {id: position for position, id in enumerate(clips["id"])}
    asked = [question for question in stored_questions() if question.clip in place]
    places = [place[str(question.clip)] for question in asked]
    names = list(clips["dataset"])
    datasets = [names[at] for at in places]
    coarse_labels = _labels(COARSE, "coarse", asked)
    every = tuple(sorted({label for name in ("casme2", "samm", "casme3") for label in labels_of(name)}))
    fine_labels = {}
    for name in {*datasets}:
        own = [question for question, dataset in zip(asked, datasets, strict=True) if dataset == name]
        fine_labels[name] = _labels(labels_of(name) or every, "fine", own)
    text, number, texts = Value("string"), Value("int64"), SequenceFeature(Value("string"))
    columns: dict[str, tuple[Any, list[Any]]] = {
        "question": (text, [question.text for question in asked]),
        "answer": (text, [question.answer for question in asked]),
        "kind": (text, [question.kind for question in asked]),
        "unit": (number, [unit_asked(question.text) for question in asked]),
        "coarse_labels": (texts, [coarse_labels] * len(asked)),
        "fine_labels": (texts, [fine_labels[name] for name in datasets]),
        "file": (text, [question.file for question in asked]),
        "line": (number, [question.line for question in asked]),
    }
    added = Features({name: feature for name, (feature, _) in columns.items()})
    table = clips.with_format("arrow")[:]
    # slices, not `select`: adding a column to a selection writes a clip's frames once for each question
    rows = pa.concat_tables([table.slice(at, 1) for at in places])
    for field, (_, values) in zip(added.arrow_schema, columns.values(), strict=True):
        rows = rows.append_column(field, pa.array(values, field.type))
    info = clips.info.copy()
    info.features = Features({**clips.features, **added})
    _warn_unscored(asked, columns)
    rows = rows.replace_schema_metadata(None)
    return Dataset(rows, info=info, split=clips.split, fingerprint=clips._fingerprint + "q")


def _labels(own: Sequence[str], kind: str, asked: Sequence[Question]) -> list[str]:
    """The labels of a dataset, or the three classes; and others that occur in the expected answers (`others`)."""
    answers = [question.answer.lower() for question in asked if question.kind == kind and question.answer]
    plain = [" ".join(re.findall(r"[^\W_]+", answer)) for answer in answers]
    return list(dict.fromkeys((*own, *sorted(canonical_label(one) or one for one in plain))))


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


def doc_to_messages(doc: Doc, lmms_eval_specific_kwargs: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """One chat message with the images and the question; see `meu.messages.chat_message`."""
    images = doc_to_visual(doc, lmms_eval_specific_kwargs)
    if len(images) == 1:
        return chat_message(doc, images, doc_to_text(doc, lmms_eval_specific_kwargs), "")
    return chat_message(doc, images, _wording(doc, "frames"), _wording(doc, "map"))


def doc_to_target(doc: Doc) -> str:
    """The expected answer; empty where there is none."""
    return doc["answer"] or ""


def reading(doc: Doc, answer: str) -> dict[str, Any]:
    """What a model's or expected answer says, by the kind of its question (`language.vqa_answers.vqa_reading`)."""
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


def submission(records: Items, args: Any = None) -> float | None:
    """Write the submission and log its path: the lines of each test file, in their order, with their `answer`.

    `x_to_answer.jsonl` becomes `<output_path>/submissions/<date and time>/x_pred.jsonl`. A file with unanswered
    questions becomes `x_pred.incomplete.jsonl`, with null for their answers.

    Returns:
        the share of the test questions that were answered.
    """
    answers = {(record["file"], record["line"]): record["submitted"] for record in records}
    files: dict[str, list[Question]] = defaultdict(list)
    for question in stored_questions():
        if question.split == TEST:
            files[question.file].append(question)
    output = Path(getattr(args, "output_path", None) or ".")
    stamp = datetime.now().strftime("%Y%m%d_%H%M%S_%f")
    folder = output / "submissions" / stamp  # new: earlier ones are never overwritten
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        folder = Path(tempfile.mkdtemp(prefix=f"megc_vqa_{stamp}_"))  # answers may have taken hours
        logger.error("the submission cannot be written to {} ({}); it is in {}", output, error, folder)
    answered = 0
    for name, questions in files.items():
        lines = [{**q.row, "answer": answers.get((q.file, q.line))} for q in questions]
        lacking = [q for q in questions if (q.file, q.line) not in answers]
        answered += len(questions) - len(lacking)
        stem = name.removesuffix(".jsonl").removesuffix("_to_answer")
        path = folder.absolute() / f"{stem}_pred{'.incomplete' if lacking else ''}.jsonl"
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
