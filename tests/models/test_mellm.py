"""The model as lmms-eval drives it: requests in, answers out; tiny and of random weights."""

from __future__ import annotations

import copy
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tiny
import torch
from lmms_eval.api.instance import GenerationResult, Instance
from lmms_eval.models.model_utils import gen_metrics
from PIL import Image

from mellm_plugin.datasets import synthme
from mellm_plugin.errors import InputError, ModelError, SettingsError
from mellm_plugin.facs.labels import LABELS as LABELS_OF
from mellm_plugin.language.lexicon import in_language
from mellm_plugin.language.probabilities import apart, heads_apart
from mellm_plugin.language.prompts import frames_prompt, map_prompt, open_map_prompt, wordings
from mellm_plugin.language.unanswered import unanswered
from mellm_plugin.models import mellm as module
from mellm_plugin.models.arguments import MAX_NEW_TOKENS, ModelArguments, generation_arguments
from mellm_plugin.models.heads import Heads, HeadShape
from mellm_plugin.models.inputs import rendered
from mellm_plugin.models.likelihood import Likelihood, Likelihoods
from mellm_plugin.models.loading import load_model
from mellm_plugin.models.mellm import Mellm
from mellm_plugin.motion.render import motion_map
from mellm_plugin.motion.settings import PRESETS, MotionSettings

Doc = dict[str, Any]
GREEDY = {"max_new_tokens": 12, "until": ["\n\n"]}


def doc(number: int, question: str = "What moves?") -> Doc:
    """A clip: dots, and in the apex those of the lower half a pixel higher."""
    dots = np.random.default_rng(number).integers(0, 255, (64, 64), dtype=np.uint8)
    moved = dots.copy()
    moved[32:] = np.roll(dots[32:], -1, axis=0)
    onset, apex = (Image.fromarray(frame).resize((84, 84)) for frame in (dots, moved))
    return {"id": f"set/s1/clip{number}", "onset": onset, "apex": apex, "question": question}


def user(*content: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [*content]}]


def doc_to_messages(doc: Doc) -> list[dict[str, Any]]:
    onset = {"type": "image", "url": doc["onset"], "frame": "onset", "nose": doc.get("nose")}
    apex = {"type": "image", "url": doc["apex"], "frame": "apex"}
    return user(onset, apex, {"type": "text", "text": doc["question"]})


def unmarked(doc: Doc) -> list[dict[str, Any]]:
    messages = doc_to_messages(doc)
    for item in messages[0]["content"]:
        item.pop("frame", None)
    return messages


def drawn(doc: Doc, settings: MotionSettings = PRESETS["robust"]) -> list[dict[str, Any]]:
    """The message with the map already in it."""
    image = motion_map(doc["onset"], doc["apex"], settings, nose=doc.get("nose")).to_pil()
    return user({"type": "image", "url": image}, {"type": "text", "text": doc["question"]})


def requests(
    model: Mellm,
    docs: list[Doc],
    gen_kwargs: list[dict[str, Any]] | dict[str, Any] = GREEDY,
    messages: Callable[[Doc], list[dict[str, Any]]] = doc_to_messages,
) -> list[Instance]:
    """Requests as lmms-eval's ConfigurableMessagesTask builds them."""
    model.task_dict["toy"] = {"test": docs}
    each = gen_kwargs if isinstance(gen_kwargs, list) else [gen_kwargs] * len(docs)
    return [
        Instance(
            request_type="generate_until",
            arguments=(docs[i]["question"], messages, copy.deepcopy(each[i]), i, "toy", "test"),
            idx=0,
            metadata={"task": "toy", "doc_id": i, "repeats": 1},
        )
        for i in range(len(docs))
    ]


def texts(model: Mellm, docs: list[Doc], **how: Any) -> list[str]:
    return [answer.text for answer in model.generate_until(requests(model, docs, **how))]


def input_tokens(model: Mellm, messages: Callable[[Doc], list[dict[str, Any]]] = doc_to_messages) -> int:
    (answer,) = model.generate_until(requests(model, DOCS[:1], messages=messages))
    return int(answer.token_counts.input_tokens)


@pytest.fixture(scope="module")
def model(base: Path) -> Mellm:
    return Mellm(pretrained=base, device="cpu", batch_size="2")


DOCS = [doc(i, question="What moves?" * (i % 3 + 1)) for i in range(5)]


# The hook


def test_marked_frames_are_shown_as_a_map(model: Mellm) -> None:
    answers = texts(model, DOCS)
    assert answers == texts(model, DOCS, messages=drawn)
    assert answers != texts(model, DOCS, messages=unmarked)


@pytest.mark.parametrize(
    ("motion", "shown"), [("off", unmarked), ("published", lambda doc: drawn(doc, PRESETS["published"]))]
)
def test_motion_chooses_what_is_shown(model: Mellm, base: Path, motion: str, shown: Any) -> None:
    other = Mellm(pretrained=base, device="cpu", motion=motion)
    assert (answers := texts(other, DOCS[:3])) == texts(model, DOCS[:3], messages=shown)
    assert answers != texts(model, DOCS[:3])


AT_NOSE = MotionSettings(estimator="farneback", head="nose", doubt_px=0)


def test_the_nose_reaches_the_map(model: Mellm, base: Path) -> None:
    by_nose = Mellm(pretrained=base, device="cpu", motion=AT_NOSE)
    docs = [{**d, "nose": [20.0 + 9 * i, 60.0]} for i, d in enumerate(DOCS)]
    answers = texts(by_nose, docs)
    assert answers == texts(model, docs, messages=lambda d: drawn(d, AT_NOSE))
    assert answers != texts(by_nose, DOCS), "without the nose they are other maps"
    assert texts(model, docs) == texts(model, DOCS), "the default settings do not use it"


def test_clips_without_a_nose_are_reported_where_it_is_asked_for(model: Mellm, base: Path, log: list[str]) -> None:
    published = Mellm(pretrained=base, device="cpu", motion="published", batch_size=2)
    some = [{**d, "nose": [42.0, 50.0]} if i in (1, 3) else d for i, d in enumerate(DOCS)]
    texts(published, some)
    (line,) = [line for line in log if "nose tip" in line]
    assert "3 of 5 clips have no nose tip" in line and "similarity fit" in line
    log.clear()
    texts(published, [{**d, "nose": [42.0, 50.0]} for d in DOCS[:2]])
    texts(model, DOCS[:2])
    assert not [line for line in log if "nose tip" in line]


def test_implausible_motion_is_counted_and_answered_all_the_same(model: Mellm) -> None:
    gen_metrics.reset_logged_metrics()
    good = next(synthme.clips("plausible", 1))
    frames = {"onset": Image.fromarray(good.onset), "apex": Image.fromarray(good.apex)}
    docs = [
        {**DOCS[0], **frames},
        {**DOCS[1], "apex": DOCS[1]["onset"]},
        {**DOCS[2], **frames, "apex": frames["onset"]},
    ]
    assert all(texts(model, docs))
    (report,) = gen_metrics.get_logged_metrics_history()
    assert (report["motion_maps"], report["implausible_motion"], report["clips_without_answer"]) == (3, 2, 0)


def test_the_question_names_the_colours_of_the_map(base: Path) -> None:
    settings, labels = MotionSettings(palette="colour-blind"), ("anger", "others")
    shown = Mellm(pretrained=base, device="cpu", motion={"palette": "colour-blind"})

    def asked(doc: Doc) -> list[dict[str, Any]]:
        question = {"type": "text", "text": frames_prompt(labels), "map_text": open_map_prompt(labels)}
        return user(*doc_to_messages(doc)[0]["content"][:2], question)

    def worded(palette: str) -> list[str]:
        question = map_prompt(labels, palette)
        return texts(shown, DOCS[:2], messages=lambda doc: drawn({**doc, "question": question}, settings))

    assert texts(shown, DOCS[:2], messages=asked) == worded("colour-blind") != worded("standard")


def test_paths_and_plain_texts_are_understood(model: Mellm, tmp_path: Path) -> None:
    clip = DOCS[0]
    for name in ("onset", "apex"):
        clip[name].save(tmp_path / f"{name}.png")
    in_files = {**clip, "onset": str(tmp_path / "onset.png"), "apex": str(tmp_path / "apex.png")}
    assert texts(model, [in_files]) == texts(model, [clip])
    assert texts(model, [in_files], messages=unmarked) == texts(model, [clip], messages=unmarked)

    plain = texts(model, [clip], messages=lambda doc: user({"type": "text", "text": doc["question"]}))
    assert texts(model, [clip], messages=lambda doc: [{"role": "user", "content": doc["question"]}]) == plain


def test_texts_images_and_videos_share_a_batch(model: Mellm) -> None:
    video = np.random.default_rng(0).integers(0, 255, (4, 56, 56, 3), dtype=np.uint8)

    def mixed(doc: Doc) -> list[dict[str, Any]]:
        text = {"type": "text", "text": doc["question"]}
        odd = {"0": user(text), "1": user({"type": "video", "url": video}, text)}
        return odd.get(doc["id"][-1]) or doc_to_messages(doc)

    together = [answer.text for answer in model._answers(requests(model, DOCS[:4], messages=mixed))]
    alone = [texts(model, [DOCS[i]], messages=mixed)[0] for i in range(4)]
    assert together == alone


@pytest.mark.parametrize("item", [{"type": "audio", "url": "a.wav"}, {"type": "video", "url": "v", "start_time": 1.0}])
def test_content_that_would_be_dropped_is_refused(model: Mellm, item: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="clip0"):
        texts(model, DOCS[:1], messages=lambda _: user(item))


# Batches, order, laziness


def test_batch_size_and_device_map_do_not_change_answers(model: Mellm, base: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU changes the precision, and with it the answers")
    expected = texts(model, DOCS)
    for given in ({"batch_size": 1, "device": "cpu"}, {"batch_size": 3, "device_map": "auto"}):
        assert texts(Mellm(pretrained=base, **given), DOCS) == expected


def test_answers_keep_the_order_when_arguments_differ(model: Mellm) -> None:
    kinds = [{"max_new_tokens": 5}, {"max_new_tokens": 5}, {"max_new_tokens": 9}, {"max_new_tokens": 5}]
    given = requests(model, DOCS[:4], gen_kwargs=kinds)
    before = copy.deepcopy([request.args[2] for request in given])
    answers = list(model.generate_until(given))
    assert [a.token_counts.output_tokens for a in answers] == [5, 5, 9, 5]
    assert [a.text for a in answers] == [texts(model, [d], gen_kwargs=k)[0] for d, k in zip(DOCS, kinds, strict=False)]
    assert [request.args[2] for request in given] == before


def test_an_answer_is_there_before_the_last_is_computed(model: Mellm, monkeypatch: pytest.MonkeyPatch) -> None:
    generate = mock.Mock(side_effect=model.model.generate)
    monkeypatch.setattr(model.model, "generate", generate)
    answers = iter(model.generate_until(requests(model, DOCS)))
    assert isinstance(next(answers), GenerationResult)
    assert generate.call_count == 1, "the first of three batches"
    assert len(list(answers)) == 4 and generate.call_count == 3


def test_one_request_gives_a_list(model: Mellm) -> None:
    answers = model.generate_until(requests(model, DOCS[:1]))
    assert isinstance(answers, list) and len(answers) == 1
    assert list(model.generate_until([])) == []


def test_a_consumer_that_stops_early_still_gets_its_report(model: Mellm) -> None:
    gen_metrics.reset_logged_metrics()
    answers = model.generate_until(requests(model, DOCS))
    for _ in zip(range(3), answers, strict=False):  # as ResponseCache does
        pass
    del answers
    (report,) = gen_metrics.get_logged_metrics_history()
    assert report["total_requests"] == 4 and report["total_gen_tokens"] > 0 and report["bundled_model"] == 0


def test_auto_halves_the_batch_when_memory_runs_out(
    base: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    model = Mellm(pretrained=base, device="cpu", batch_size="auto", max_batch_size=4)
    expected = texts(model, DOCS)
    generate = model.model.generate

    def small_memory(**given: Any) -> Any:
        if len(given["input_ids"]) > 2:
            raise torch.cuda.OutOfMemoryError("no more")
        return generate(**given)

    monkeypatch.setattr(model.model, "generate", small_memory)
    assert texts(model, DOCS) == expected
    assert model.batch_size == 2 and model.batch_sizes == {"generate_until": 2}
    assert "4 requests per batch; continuing with 2" in "".join(log)
    fixed = Mellm(pretrained=base, device="cpu", batch_size=4)
    monkeypatch.setattr(fixed.model, "generate", small_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        texts(fixed, DOCS)


# What goes to and comes from the model


def test_tokens_are_counted(model: Mellm) -> None:
    docs = [doc(0, "a"), doc(1, "a" * 31)]
    short, long = model.generate_until(requests(model, docs, gen_kwargs={"max_new_tokens": 7}))
    assert long.token_counts.input_tokens - short.token_counts.input_tokens == 30
    content = "user\na<|im_end|>\n<|im_start|>assistant\n"
    expected = f"<|im_start|>system\n{tiny.SYSTEM}<|im_end|>\n<|im_start|>{content}"
    assert short.token_counts.input_tokens == len(model.tokenizer(expected)["input_ids"]) + 2 + 9
    assert short.token_counts.output_tokens == 7


def test_an_answer_ends_where_the_model_ends_it(model: Mellm, monkeypatch: pytest.MonkeyPatch) -> None:
    full = texts(model, DOCS[:2])
    monkeypatch.setattr(model, "_ends", [*model._ends, model.tokenizer.convert_tokens_to_ids(full[0][4])])
    ended = list(model.generate_until(requests(model, DOCS[:2])))
    assert ended[0].text == full[0][: full[0].index(full[0][4]) + 1]
    assert ended[0].token_counts.output_tokens == len(ended[0].text)


def test_until_cuts_at_the_first_stop(model: Mellm) -> None:
    (full,) = texts(model, DOCS[:1])
    until = [full[7:9], full[4:6]]
    first = min(full.index(stop) for stop in until)
    assert texts(model, DOCS[:1], gen_kwargs={**GREEDY, "until": until}) == [full[:first]]
    assert texts(model, DOCS[:1], gen_kwargs={**GREEDY, "until": full[2:4]}) == [full[: full.index(full[2:4])]]


def test_system_messages_and_pixel_limits_reach_the_model(model: Mellm, base: Path, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("Look closely.\n")

    def with_system(doc: Doc) -> list[dict[str, Any]]:
        return [{"role": "system", "content": [{"type": "text", "text": "Look closely."}]}, *doc_to_messages(doc)]

    said = [
        input_tokens(Mellm(pretrained=base, device="cpu", system_prompt="Look closely.")),
        input_tokens(Mellm(pretrained=base, device="cpu", system_prompt=tmp_path / "prompt.txt")),
        input_tokens(model, with_system),
    ]
    default = input_tokens(model)
    assert said == [default - len(tiny.SYSTEM) + len("Look closely.")] * 3
    assert input_tokens(Mellm(pretrained=base, device="cpu", max_pixels=28 * 28)) == default - 9 + 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"do_sample": False, "max_new_tokens": MAX_NEW_TOKENS}),
        ({"temperature": 0, "top_p": 0.9}, {"do_sample": False, "temperature": None, "top_p": None}),
        ({"temperature": 0.7, "top_k": 5}, {"do_sample": True, "temperature": 0.7, "top_k": 5}),
        ({"temperature": 0.7, "do_sample": False}, {"do_sample": False, "temperature": None}),
        ({"do_sample": True}, {"do_sample": True}),
        ({"do_sample": True, "temperature": 0.0}, {"do_sample": False, "temperature": None}),
        ({"num_beams": 3, "repetition_penalty": 1.1}, {"num_beams": 3, "repetition_penalty": 1.1}),
        ({"max_new_tokens": 5, "temperature": None}, {"max_new_tokens": 5, "do_sample": False}),
        ({"until": ["\n\n"]}, {"until": []}),  # lmms-eval's default
        ({"until": "\n\n"}, {"until": []}),
        ({"until": "END"}, {"until": ["END"]}),
        ({"until": ["\n\n", "END"]}, {"until": ["\n\n", "END"]}),
    ],
)
def test_generation_arguments(given: dict[str, Any], expected: dict[str, Any]) -> None:
    before = copy.deepcopy(given)
    arguments, until, unknown = generation_arguments(given)
    found = {**arguments, "until": until}
    assert {name: found[name] for name in expected} == expected
    assert (unknown, given) == ([], before)


def test_beams_and_sampling_run(model: Mellm, log: list[str]) -> None:
    beams = texts(model, DOCS[:2], gen_kwargs={"num_beams": 2, "max_new_tokens": 6, "image_size": 3})
    assert [len(text) for text in beams] == [6, 6]
    assert "image_size" in "".join(log)
    hot = {"temperature": 5.0, "max_new_tokens": 12}
    assert texts(model, DOCS[:1], gen_kwargs=hot) != texts(model, DOCS[:1], gen_kwargs=hot)


# Clips that cannot be used


def test_a_broken_clip_does_not_lose_the_others(model: Mellm, tmp_path: Path, log: list[str]) -> None:
    gen_metrics.reset_logged_metrics()
    wrong_size = {**DOCS[1], "apex": DOCS[1]["apex"].resize((80, 80))}
    absent = {**DOCS[3], "onset": str(tmp_path / "absent.png")}
    docs = [DOCS[0], wrong_size, DOCS[2], absent, DOCS[4]]
    answers = list(model.generate_until(requests(model, docs)))
    expected = texts(model, DOCS)
    assert [answers[at].text for at in (0, 2, 4)] == [expected[at] for at in (0, 2, 4)]
    assert {unanswered(answers[at].text) for at in (1, 3)} == {"the clip's images could not be used"}
    assert answers[1].token_counts is None
    assert gen_metrics.get_logged_metrics_history()[0]["clips_without_answer"] == 2
    report = log[-1]
    assert "2 clips" in report
    assert "set/s1/clip1: expected onset and apex of one size" in report
    assert "set/s1/clip3" in report and "no such file" in report


def test_damaged_images_cost_their_own_answers(model: Mellm, tmp_path: Path, log: list[str]) -> None:
    file = io.BytesIO()
    DOCS[0]["apex"].save(file, "PNG")
    damaged = {**DOCS[0], "apex": Image.open(io.BytesIO(file.getvalue()[:3000]))}  # opened, but not read yet
    answers = texts(model, [damaged, DOCS[1]])
    assert unanswered(answers[0]) and not unanswered(answers[1])
    assert "clip0" in log[-1] and "apex: the image cannot be read" in log[-1]
    (tmp_path / "torn.png").write_bytes(b"\x89PNG")
    answers = texts(model, [DOCS[1], {**DOCS[2], "onset": str(tmp_path / "torn.png")}], messages=unmarked)
    assert not unanswered(answers[0]) and unanswered(answers[1]) and "clip2" in log[-1]


# Which model


def test_neither_model_nor_adapter_is_the_bundled_one(
    base: Path, monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    monkeypatch.setattr(module, "bundled_folder", lambda: base)
    model = Mellm.create_from_arg_string("", {"batch_size": 1, "device": "cpu"})
    assert "BUNDLED" in "".join(log)
    assert isinstance(model, Mellm) and '"bundled": true' in type(model).__name__
    gen_metrics.reset_logged_metrics()
    assert texts(model, DOCS[:1])
    assert gen_metrics.summarize_logged_metrics()["avg_bundled_model"] == 1


def test_an_adapter_brings_its_base(base: Path, adapter: Path) -> None:
    both = Mellm(pretrained=base, adapter=adapter, device="cpu")
    alone = Mellm(adapter=adapter, device="cpu", merge_adapter=False)
    assert alone.config._name_or_path == str(base)
    assert texts(alone, DOCS) == texts(both, DOCS)
    assert texts(alone, DOCS) != texts(Mellm(pretrained=base, device="cpu"), DOCS)


def test_an_adapter_may_bring_its_processor(base: Path, adapter: Path, tmp_path: Path) -> None:
    own = shutil.copytree(adapter, tmp_path / "adapter")
    processor = tiny.processor()
    processor.chat_template = processor.chat_template.replace(tiny.SYSTEM, "Short.")
    processor.save_pretrained(own)
    counts = [input_tokens(Mellm(adapter=folder, device="cpu")) for folder in (own, adapter)]
    assert counts[1] - counts[0] == len(tiny.SYSTEM) - len("Short.")


def test_settings_that_come_with_the_model_win_unless_overridden(
    base: Path, adapter: Path, tmp_path: Path, log: list[str]
) -> None:
    trained = MotionSettings(floor_px=0.4)
    whole = shutil.copytree(base, tmp_path / "base")
    MotionSettings(floor_px=0.6).save(whole)
    own = shutil.copytree(adapter, tmp_path / "adapter")
    trained.save(own)
    assert Mellm(pretrained=whole, device="cpu").motion == MotionSettings(floor_px=0.6)
    assert Mellm(pretrained=whole, adapter=own, device="cpu").motion == trained
    assert Mellm(pretrained=whole, adapter=adapter, device="cpu").motion == MotionSettings(floor_px=0.6)
    assert Mellm(adapter=own, device="cpu", motion=trained).motion == trained
    assert not log
    assert Mellm(adapter=own, device="cpu", motion="published").motion == PRESETS["published"]
    assert "floor_px=0.4" in log[0] and "tvl1" in log[0]
    assert Mellm(adapter=own, device="cpu", motion="off").motion is None
    assert "off" in log[1]


# Being lmms-eval's


def test_arguments_come_as_a_line_a_dict_or_options(base: Path) -> None:
    line = Mellm.create_from_arg_string(f"pretrained={base},motion=published", {"batch_size": "3", "device": "cpu"})
    assert (line.batch_size, line.motion, line.device.type) == (3, PRESETS["published"], "cpu")
    both = Mellm.create_from_arg_string({"pretrained": base, "batch_size": 4, "device": "cpu"}, {"batch_size": 1})
    assert both.batch_size == 4
    with pytest.raises(SettingsError, match="batch_size: found 4 in model_args and '3'"):
        Mellm.create_from_arg_string("batch_size=4", {"batch_size": "3"})
    with pytest.raises(SettingsError, match="name=value"):
        Mellm.create_from_arg_string("pretrained", None)
    with pytest.raises(SettingsError, match="Did you mean 'pretrained'"):
        Mellm.create_from_arg_string("pretrain=a/b", {"batch_size": 1})
    with pytest.raises(SettingsError, match="found adapter twice in"):
        Mellm.create_from_arg_string("adapter=a/b,device=cpu, adapter=a/c", {})


def test_folders_that_look_like_numbers_or_have_commas(
    base: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("007", "1e5", "True", "lr=1e-4,r=8"):
        (tmp_path / name).symlink_to(adapter)
        line = f'"{name}"' if "," in name else name
        model = Mellm.create_from_arg_string(f"pretrained={base},adapter={line}", {"device": "cpu"})
        assert model.arguments.adapter == name
    assert ModelArguments.read({"adapter": 2025}).adapter == "2025"
    assert ModelArguments.read({"pretrained": "a/b", "revision": 2025}).revision == "2025"
    with pytest.raises(SettingsError, match=r"splits at commas.*quote a value"):
        Mellm.create_from_arg_string("adapter=lr=1e-4,r=8", {"device": "cpu"})


def test_a_device_that_is_not_there_is_refused(base: Path) -> None:
    with pytest.raises(SettingsError, match="'cuda:99'"):
        Mellm(pretrained=base, device="cuda:99")


def test_a_freed_model_reports_itself(base: Path) -> None:
    model = Mellm(pretrained=base, device="cpu")
    model.clean()
    assert model.config._name_or_path == str(base)
    with pytest.raises(ModelError, match="create a new one"):
        texts(model, DOCS[:1])


def test_other_requests_are_not_implemented(model: Mellm) -> None:
    for call in (model.loglikelihood, model.generate_until_multi_round):
        with pytest.raises(NotImplementedError, match="generate_until"):
            call([])


# Closed questions

LABELS = ("anger", "fear", "joy", "others")


def closed(number: int) -> Doc:
    return {**doc(number), "asks": "emotion", "labels": list(LABELS)}


def asked(doc: Doc) -> list[dict[str, Any]]:
    return doc_to_messages({**doc, "question": f"Which: {', '.join(doc['labels'])}?"})


def test_likelihood_decides_closed_questions(model: Mellm, base: Path) -> None:
    deciding = Mellm(pretrained=base, device="cpu", decide="likelihood", orders="3", batch_size="2")
    docs = [closed(number) for number in range(3)]
    answers = list(deciding.generate_until(requests(deciding, docs, messages=asked)))
    of = Likelihood(model.model, model.processor)
    for one, answer in zip(docs, answers, strict=True):
        image = drawn(one)[0]["content"][0]["url"]
        prompts = []
        for order in ("anger, fear, joy, others", "fear, joy, others, anger", "joy, others, anger, fear"):
            content = [{"type": "image"}, {"type": "text", "text": f"Which: {order}?"}]
            prompts.append(rendered(model.processor, user(*content)))
        each = of(prompts, [[image]] * 3, LABELS).probabilities()
        label, found = apart(answer.text)
        assert found is not None and list(found) == list(LABELS)
        assert np.allclose(list(found.values()), each.mean(0), atol=1e-4)
        assert label == max(found, key=found.__getitem__)
        assert answer.token_counts.output_tokens == 0
        assert answer.token_counts.input_tokens > 3 * len(prompts[0]) / 2


def test_likelihood_leaves_other_questions_and_says_so(model: Mellm, base: Path, log: list[str]) -> None:
    deciding = Mellm(pretrained=base, device="cpu", decide="likelihood")
    assert texts(deciding, DOCS[:3]) == texts(model, DOCS[:3])
    assert sum("decide=likelihood does not apply to toy" in line for line in log) == 1


def test_labels_that_the_model_would_not_say_are_reported(base: Path, log: list[str]) -> None:
    deciding = Mellm(pretrained=base, device="cpu", decide="likelihood", orders=9)
    assert apart(texts(deciding, [closed(0)], messages=asked)[0])[0] in LABELS
    assert any("all labels of toy together have" in line for line in log)


def test_labels_are_answered_in_the_language_of_the_prompt() -> None:
    deciding = Mellm(device="cpu", decide="likelihood", orders=2)
    labels = LABELS_OF["casme2"]
    prompts: list[str] = []

    def chinese(doc: Doc) -> list[dict[str, Any]]:
        prompts.append(wordings("emotion", doc["labels"], language="zh")[0])
        return doc_to_messages({**doc, "question": prompts[-1]})

    one = {**closed(0), "labels": list(labels)}
    label, found = apart(texts(deciding, [one], messages=chinese)[0])
    assert found is not None and tuple(found) == labels
    assert label == in_language(max(found, key=found.__getitem__), "zh")
    assert len(set(prompts)) == 2 and all(in_language(labels[0], "zh") in prompt for prompt in prompts)


def test_tasks_of_two_languages_share_no_batch_of_labels() -> None:
    deciding = Mellm(device="cpu", decide="likelihood", orders=1, batch_size=2)
    labels = LABELS_OF["casme2"]
    one = {**closed(0), "labels": list(labels)}

    def worded(language: str) -> Callable[[Doc], list[dict[str, Any]]]:
        prompt = wordings("emotion", labels, language=language)[0]
        return lambda doc: doc_to_messages({**doc, "question": prompt})

    both = [requests(deciding, [one], messages=worded(language))[0] for language in ("en", "zh")]
    both[1].arguments = (*both[1].arguments[:4], "toy_zh", "test")
    deciding.task_dict["toy_zh"] = {"test": [one]}
    for language, answer in zip(("en", "zh"), deciding.generate_until(both), strict=True):
        label, found = apart(answer.text)
        assert found is not None and label == in_language(max(found, key=found.__getitem__), language)


def test_likelihoods_that_are_no_numbers_decide_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deciding = Mellm(pretrained=base, device="cpu", decide="likelihood")
    monkeypatch.setattr(
        Likelihood, "__call__", lambda *_: Likelihoods(*[np.full((3, 4), np.nan), np.ones(4), np.ones(3)])
    )
    with pytest.raises(ModelError, match="expected finite likelihoods of the labels, found nan: .*float32"):
        texts(deciding, [closed(0)], messages=asked)


def test_heads_answer_and_the_log_says_what_they_cannot(base: Path, tmp_path: Path, log: list[str]) -> None:
    folder = shutil.copytree(base, tmp_path / "model")
    heads = Heads(
        HeadShape(load_model(str(base)).config.get_text_config().hidden_size, 2, 1, ("label",), (), LABELS[:2])
    )
    heads.heads["label"].bias.data = torch.tensor([0.0, 2.0])
    heads.save(folder)
    docs = [closed(0), closed(1), doc(2)]
    by_heads = texts(Mellm(pretrained=folder, device="cpu", answer="head"), docs[:2], messages=asked)
    assert [apart(answer)[0] for answer in by_heads] == ["fear"] * 2
    assert apart(by_heads[0])[1] == {"anger": 0.119203, "fear": 0.880797, "joy": 0, "others": 0}
    assert sum("answer=head: toy: the heads were not trained on joy, others" in line for line in log) == 1
    both = Mellm(pretrained=folder, device="cpu", answer="both")
    words = texts(Mellm(pretrained=base, device="cpu"), docs[:1], messages=asked)
    assert [heads_apart(answer) for answer in texts(both, docs[:1], messages=asked)] == [(words[0], by_heads[0])]
    other = Mellm(pretrained=folder, device="cpu", answer="head")
    assert texts(other, docs[2:]) == texts(Mellm(pretrained=base, device="cpu"), docs[2:])
    assert sum("answer=head does not apply to toy" in line for line in log) == 1
