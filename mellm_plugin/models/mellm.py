"""The model `mellm` of lmms-eval: a vision-language model that reads motion maps.

    lmms-eval --model mellm --model_args pretrained=Qwen/Qwen2.5-VL-7B-Instruct,adapter=FOLDER --tasks ...

`hook` turns marked images into maps. Everything else passes through: any task with text, images and videos runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from loguru import logger
from PIL import Image
from tqdm import tqdm
from transformers.image_utils import load_image

from mellm_plugin.errors import ImageError, InputError, ModelError, imports_of_lmms_eval
from mellm_plugin.language.lexicon import language_naming
from mellm_plugin.language.probabilities import with_heads, with_probabilities
from mellm_plugin.language.short_answers import label_answer
from mellm_plugin.language.unanswered import IMAGES_UNUSABLE
from mellm_plugin.models import bundled_folder, loading
from mellm_plugin.models.arguments import ModelArguments, cut_at, generation_arguments, with_options
from mellm_plugin.models.heads import HeadAnswers
from mellm_plugin.models.hook import with_maps
from mellm_plugin.models.inputs import encoded, on_device, rendered
from mellm_plugin.models.likelihood import Likelihood, label_orders
from mellm_plugin.models.seen import MARKED, Seen, record_in_name
from mellm_plugin.motion.cache import default_cache
from mellm_plugin.motion.render import MotionMap, motion_map
from mellm_plugin.motion.settings import DEFAULT, MotionSettings

with imports_of_lmms_eval():
    from lmms_eval.api.instance import GenerationResult, Instance, TokenCounts
    from lmms_eval.api.model import lmms
    from lmms_eval.models.model_utils.gen_metrics import log_metrics


_OF_LABELS = 0.5
"""The least probability that the labels of closed questions should have together."""


@dataclass
class _Clip:
    """A request on its way to the model."""

    name: str
    task: str = ""
    messages: list[dict[str, Any]] = field(default_factory=list)
    images: list[Any] = field(default_factory=list)  # a map may still be a Future
    videos: list[Any] = field(default_factory=list)
    fault: str = ""
    labels: tuple[str, ...] = ()  # of a closed question that likelihood decides
    asked: tuple[str, tuple[str, ...]] | None = None  # what heads answer, and the labels
    orders: list[list[dict[str, Any]]] = field(default_factory=list)  # its messages in further orders of the labels


@dataclass
class _Tally:
    """Counts of one `generate_until` call."""

    maps = without_nose = doubtful = requests = tokens = 0
    seconds = 0.0
    faults: dict[str, str] = field(default_factory=dict)
    of_labels: dict[str, list[float]] = field(default_factory=dict)
    """Of each clip of a closed task, the probability that all labels have together."""


class Mellm(lmms):  # type: ignore[misc]
    """A Hugging Face image-text-to-text model, with or without LoRA adapter, that reads motion maps.

    Its arguments are the fields of `ModelArguments`; without `pretrained` and `adapter`, it is the bundled model.

    Raises:
        SettingsError: unknown or unusable arguments; lists all.
        ModelError: the model or the adapter cannot be loaded.
    """

    is_simple = False

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self.arguments = given = ModelArguments.read(arguments)
        self.accelerator = Accelerator()
        self._rank: int = self.accelerator.process_index
        self._world_size: int = self.accelerator.num_processes
        self.device = loading.process_device(given.device, given.device_map, self.accelerator, self._log)
        self._load()
        self._record_in_name()
        self.system_prompt = self._resolve_system_prompt(given.system_prompt) if given.system_prompt else None
        self.batch_size: int = given.batch_size or given.max_batch_size
        """Requests per batch; with `batch_size=auto`, the number that fitted so far."""
        if given.batch_size is None:
            self._log("INFO", f"batch_size=auto: {self.batch_size}, halved when GPU memory runs out")

    @classmethod
    def create_from_arg_string(
        cls, arg_string: str | Mapping[str, Any], additional_config: Mapping[str, Any] | None = None
    ) -> Mellm:
        """The model for lmms-eval's `--model_args`, or a dict of them, and its options `--batch_size`, `--device`, ..

        Raises:
            SettingsError, ModelError: as the class; or if both give different values for an argument.
        """
        return cls(**with_options(arg_string, additional_config or {}))

    def _load(self) -> None:
        given = self.arguments
        source, revision = given.pretrained, given.revision
        self._is_bundled = source is None and given.adapter is None
        folder = loading.fetch_adapter(given.adapter, given.adapter_revision) if given.adapter else None
        if source is None and folder is not None:
            source, revision = loading.adapter_base(folder)
        elif source is None:
            source = str(bundled_folder())
            if not Path(source, "config.json").is_file():
                raise ModelError(f"{source}: this installation has no bundled model; set pretrained= or adapter=")
            self._log(
                "WARNING",
                "neither pretrained= nor adapter= is set: this is the BUNDLED model, small and trained on "
                "drawn faces only. Its answers say nothing about real people.",
            )
        names = ("dtype", "device_map", "attn_implementation", "trust_remote_code")
        options = {name: getattr(given, name) for name in names}
        try:
            self._model = loading.load_model(source, revision=revision, device=self.device, **options)
            loading.check_numbers(self._model, source)
        except ModelError as error:
            if folder is None or given.pretrained:
                raise
            raise loading.base_of(folder, error) from error
        if given.device_map is not None:
            self.device = self._model.device
        # What the adapter does not contain comes from its base.
        brings = folder is not None and loading.carries_processor(folder)
        where, which = (str(folder), None) if brings else (source, revision)
        self.processor = loading.load_processor(where, revision=which, trust_remote_code=given.trust_remote_code)
        self.tokenizer = self.processor.tokenizer
        carried = None
        records = [loading.carried_record(source, revision)]
        if folder is not None:
            self._model = loading.add_adapter(self._model, folder, merge=given.merge_adapter, processor=self.processor)
            carried = loading.carried_motion(str(folder))
            records.append(loading.carried_record(str(folder)))
        known = [record for record in records if record is not None]
        self._seen = Seen.of(known) if known else None
        self._sums: dict[str, str] = {}
        if folder is not None:
            self._sums["adapter_sha256"] = loading.weights_sum(folder)
        elif known and "merged" in known[0]:
            self._sums["adapter_sha256"] = known[0]["merged"]["adapter_sha256"]
        elif any(Path(place := loading.local_or_hub(source)).glob("*.safetensors")):
            self._sums["weights_sha256"] = loading.weights_sum(Path(place))
        self._splits: dict[str, str] = {}
        self._likelihood: Likelihood | None = None
        self._heads: HeadAnswers | None = None
        if given.answer != "words":
            carrier = str(folder) if folder is not None else loading.local_or_hub(source)
            self._heads = HeadAnswers(self._model, loading.carried_heads(carrier))
        self._has_warned = False
        self._generated_tasks: set[str] = set()  # those that decide=likelihood does not apply to
        self._told_of_heads: set[str] = set()  # tasks
        carried = carried or loading.carried_motion(source, revision)
        wanted = carried or DEFAULT if given.motion is None else given.motion
        if carried is not None and wanted != carried:
            self._log("WARNING", f"motion: using {wanted} as requested; the model was trained with {carried}")
        self.motion = wanted if isinstance(wanted, MotionSettings) else None  # None: frames pass through
        loading.limit_pixels(self.processor, given.min_pixels, given.max_pixels)
        self.config = self._model.config  # lmms-eval names a ready-made model by it
        ends = self._model.generation_config.eos_token_id
        ends = {*(ends if isinstance(ends, list) else [ends]), self.tokenizer.eos_token_id} - {None}
        self._ends: list[int] = sorted(ends)

    def _record_in_name(self) -> None:
        """Put weights, map settings and training people into the class name, which the results file records."""
        motion = self.motion.to_dict() if self.motion else "off"
        known: dict[str, Any] = {"bundled": self._is_bundled, "motion": motion, **self._sums}
        if self._seen is not None:
            known["training"] = {**self._seen.counts, "tasks": self._overlaps(self._seen)}
        record_in_name(self, known)

    def _overlaps(self, seen: Seen) -> dict[str, Any]:
        """The overlap of each task's clips with the training data; warns once of people that the model has seen.

        This counts all clips of a task, whatever its `--limit`, and whoever answers them.
        """
        found, faults = seen.overlaps(self.task_dict, self._splits)
        if faults and not self._has_warned:
            self._has_warned = True
            self._log(
                "WARNING",
                f"{MARKED}(leave subjects out by leave_out in the config, or run mellm loso):"
                + "".join(f"\n  - {fault}" for fault in faults),
            )
        return found

    def clean(self) -> None:
        """Free the model after the last answer, even if all answers came from lmms-eval's cache."""
        self._record_in_name()
        self._likelihood = self._heads = None
        super().clean()

    def _log(self, level: str, text: str) -> None:
        """Log in the main process only."""
        if self.accelerator.is_main_process:
            logger.log(level, f"mellm: {text}")

    @property
    def model(self) -> Any:
        """The transformers model; raises ModelError once lmms-eval has freed it."""
        if "_model" not in vars(self):
            raise ModelError("lmms-eval has freed this model after an evaluation; create a new one")
        return self._model

    @property
    def batch_sizes(self) -> dict[str, int]:
        """The batch sizes in lmms-eval's results file."""
        return {"generate_until": self.batch_size}

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not supported; raises NotImplementedError."""
        why = "mellm computes likelihoods only of the labels of closed questions (decide=likelihood)"
        raise NotImplementedError(f"{why}; choose tasks with output_type: generate_until")

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not supported; raises NotImplementedError."""
        raise NotImplementedError("mellm answers in one round only; choose tasks with output_type: generate_until")

    def generate_until(self, requests: list[Instance]) -> Iterable[GenerationResult]:
        """Answers in the order of the requests; each is yielded before later batches, so that lmms-eval can save it.

        If a clip's images cannot be used, its answer is `IMAGES_UNUSABLE` with the fault, and the log reports it. For a
        single request, it returns a list, because lmms-eval's agentic loop takes the first item.
        """
        self._splits |= {request.args[4]: request.args[5] for request in requests}
        self._record_in_name()  # now with the tasks' overlaps
        answers = self._answers(requests)
        return list(answers) if len(requests) == 1 else answers

    def _answers(self, requests: list[Instance]) -> Iterator[GenerationResult]:
        tally = _Tally()
        batches = self._batches(requests)
        progress = tqdm(total=len(requests), disable=self.rank != 0, desc="mellm")
        pool = ThreadPoolExecutor(self.arguments.map_workers, thread_name_prefix="motion-map")
        try:
            batch = next(batches, [])
            clips = [self._clip(request, pool) for request in batch]
            while batch:
                coming = next(batches, [])
                coming_clips = [self._clip(request, pool) for request in coming]  # drawn in the background
                for answer in self._generate(clips, batch[0].args[2], tally):
                    progress.update()
                    yield answer
                batch, clips = coming, coming_clips
        finally:
            # Here, because lmms-eval's cache does not resume the iterator after the last answer.
            pool.shutdown(cancel_futures=True)
            progress.close()
            self._report(tally)

    def _batches(self, requests: list[Instance]) -> Iterator[list[Instance]]:
        """Neighbouring requests with equal generation arguments, up to the current batch size."""
        for _, alike in groupby(requests, key=lambda request: request.args[2]):
            waiting = list(alike)
            while waiting:
                batch, waiting = waiting[: self.batch_size], waiting[self.batch_size :]
                yield batch

    def _clip(self, request: Instance, pool: ThreadPoolExecutor) -> _Clip:
        _, doc_to_messages, _, doc_id, task, split = request.args
        clip = _Clip(f"{task}/{doc_id}", task)
        try:
            doc = self.task_dict[task][split][doc_id]
            if isinstance(doc, Mapping) and isinstance(doc.get("id"), str):
                clip.name = doc["id"]
            clip.messages = self._messages(doc_to_messages(doc), clip, pool)
            if self._heads is not None:
                clip.asked = self._asked(self._heads, doc, task)
            if self.arguments.decide == "likelihood" and not self._by_head(clip):
                self._close(clip, doc, doc_to_messages)
        except (ImageError, OSError) as error:  # PIL's error for a damaged image is an OSError
            clip.fault = str(error) or repr(error)
        return clip

    def _asked(self, heads: HeadAnswers, doc: Any, task: str) -> tuple[str, tuple[str, ...]] | None:
        """What the heads answer about a clip; None for other tasks. Warns once a task of what they lack."""
        asks = doc.get("asks") if isinstance(doc, Mapping) else None
        if task not in self._told_of_heads:
            self._told_of_heads.add(task)
            of, how = f"answer={self.arguments.answer}", "so the language model alone answers"
            if not asks:
                self._log("WARNING", f"{of} does not apply to {task}: its clips do not say what is asked, {how}")
            elif lacking := heads.lacking(asks, doc["labels"], doc.get("scored_aus") or ()):
                why = f"the heads were not trained on {', '.join(lacking)}, and never give them"
                self._log("WARNING", f"{of}: {task}: {why}; train them on data that have them, or use answer=words")
        return (asks, tuple(doc["labels"])) if asks else None

    def _by_head(self, clip: _Clip) -> bool:
        """Whether heads alone answer; questions of other tasks are left to the language model."""
        return self.arguments.answer == "head" and clip.asked is not None

    def _close(self, clip: _Clip, doc: Any, doc_to_messages: Callable[[Any], Any]) -> None:
        """Let likelihood decide a question whose answer is one of its labels alone; warn once a task of other ones."""
        if not isinstance(doc, Mapping) or doc.get("asks") != "emotion":
            if clip.task not in self._generated_tasks:
                self._generated_tasks.add(clip.task)
                why = "it does not ask for one of its labels alone, so its answers are generated"
                self._log("WARNING", f"decide=likelihood does not apply to {clip.task}: {why}")
            return
        clip.labels = tuple(doc["labels"])
        for order in label_orders(clip.labels, self.arguments.orders)[1:]:
            messages = doc_to_messages({**doc, "labels": list(order)})
            clip.orders.append(self._messages(messages, _Clip(clip.name), None))

    def _messages(
        self, given: list[dict[str, Any]], clip: _Clip, pool: ThreadPoolExecutor | None
    ) -> list[dict[str, Any]]:
        """Messages for the chat template; images and videos go to the clip, maps only with a pool that draws them."""
        messages = [{"role": one["role"], "content": self._content(one["content"], clip, pool)} for one in given]
        return self._apply_system_prompt(messages, self.system_prompt) if self.system_prompt else messages

    def _content(self, items: Any, clip: _Clip, pool: ThreadPoolExecutor | None) -> list[dict[str, str]]:
        items = [{"type": "text", "text": items}] if isinstance(items, str) else items
        settings = self.motion
        if settings is not None:
            items = with_maps(items, lambda *frames: pool and pool.submit(_map, settings, *frames), settings.palette)
        content: list[dict[str, str]] = []
        for item in items:
            kind = item["type"]
            content.append({"type": kind} | ({"text": item["text"]} if kind == "text" else {}))
            if kind == "image":
                clip.images.append(_opened(item["url"]))
            elif kind == "video" and item.get("start_time") is None and item.get("end_time") is None:
                clip.videos.append(item["url"])
            elif kind != "text":
                raise InputError(f"expected texts, images and whole videos, found {item}", where=clip.name)
        return content

    def _generate(self, clips: list[_Clip], gen_kwargs: Mapping[str, Any], tally: _Tally) -> list[GenerationResult]:
        """Answers of a batch; for a clip with a fault, the fault in the form that `language.unanswered` reads."""
        arguments, until, unknown = generation_arguments(gen_kwargs)
        if unknown and not tally.requests:
            self._log("WARNING", f"ignoring unknown generation arguments: {', '.join(unknown)}")
        for clip in clips:
            self._finish_maps(clip, tally)
        tally.requests += len(clips)
        sound = [clip for clip in clips if not clip.fault]
        answers = iter(self._run(sound, arguments, until, tally))
        return [GenerationResult(f"{IMAGES_UNUSABLE} {clip.fault}") if clip.fault else next(answers) for clip in clips]

    def _finish_maps(self, clip: _Clip, tally: _Tally) -> None:
        try:
            for position, image in enumerate(clip.images):
                if isinstance(image, Future):
                    drawn: MotionMap = image.result()
                    clip.images[position] = drawn.to_pil()
                    tally.maps += 1
                    tally.without_nose += drawn.settings.head == "nose" != drawn.facial.head_from
                    tally.doubtful += bool(drawn.doubts)
        except ImageError as error:
            clip.fault = str(error)
        if clip.fault:
            logger.error(f"mellm: {clip.name} has no answer because its images cannot be used: {clip.fault}")
            tally.faults[clip.name] = clip.fault

    def _run(
        self, clips: list[_Clip], arguments: Mapping[str, Any], until: list[str], tally: _Tally
    ) -> list[GenerationResult]:
        """Answers of clips without faults. Out of memory with batch_size=auto halves the batch."""
        if not clips:
            return []
        started = perf_counter()
        try:
            answers: list[GenerationResult] = []
            for (by_head, labels, _), alike in groupby(clips, key=self._way):
                some = list(alike)
                if by_head:
                    answers += [GenerationResult(said, TokenCounts(output_tokens=0)) for said in self._of_heads(some)]
                else:
                    answers += self._decided(some, labels, tally) if labels else self._generated(some, arguments, until)
            if self.arguments.answer == "both":
                for clip, answer in zip(clips, answers, strict=True):
                    if clip.asked is not None:
                        answer.text = with_heads(answer.text, *self._of_heads([clip]))
            tally.seconds += perf_counter() - started
            tally.tokens += sum(answer.token_counts.output_tokens for answer in answers)
            return answers
        except torch.cuda.OutOfMemoryError:
            if self.arguments.batch_size is not None or len(clips) == 1:
                raise
        # Outside the handler, because the error keeps the memory allocated.
        torch.cuda.empty_cache()
        self.batch_size = half = len(clips) // 2
        logger.warning(f"mellm: out of GPU memory with {len(clips)} requests per batch; continuing with {half}")
        parts = [clips[i : i + half] for i in range(0, len(clips), half)]
        return [answer for part in parts for answer in self._run(part, arguments, until, tally)]

    def _way(self, clip: _Clip) -> tuple[bool, tuple[str, ...], str]:
        """Clips that are equal in this are answered together; tasks with the same labels may ask in two languages."""
        return self._by_head(clip), clip.labels, clip.task if clip.labels else ""

    def _of_heads(self, clips: list[_Clip]) -> list[str]:
        """The answers of the heads to clips with `asked`."""
        assert self._heads is not None
        texts = [rendered(self.processor, clip.messages) for clip in clips]
        inputs = on_device(encoded(self.processor, texts, [clip.images for clip in clips]), self.model)
        return self._heads(inputs, [clip.asked for clip in clips if clip.asked is not None])

    def _decided(self, clips: list[_Clip], labels: tuple[str, ...], tally: _Tally) -> list[GenerationResult]:
        """The likeliest label of each clip, with the probability of every label behind it."""
        texts = [[rendered(self.processor, one) for one in (clip.messages, *clip.orders)] for clip in clips]
        orders = len(texts[0])
        answers = [label_answer(label, language_naming(labels, texts[0][0])) for label in labels]
        images, videos = (
            [one for clip in clips for one in [getattr(clip, kind)] * orders] for kind in ("images", "videos")
        )
        if self._likelihood is None:
            self._likelihood = Likelihood(self.model, self.processor, self._ends)
        found = self._likelihood([text for of in texts for text in of], images, answers, videos)
        each = found.probabilities().reshape(len(clips), orders, len(labels)).mean(1)
        if names := [clip.name for clip, values in zip(clips, each, strict=True) if not np.isfinite(values).all()]:
            raise ModelError(
                f"{names[0]}: expected finite likelihoods of the labels, found {each[~np.isfinite(each)][0]}: numbers "
                f"overflow in {self.model.dtype}; set dtype=bfloat16 or dtype=float32"
            )
        for clip, share in zip(clips, np.exp(found.log).sum(1).reshape(len(clips), orders).mean(1), strict=True):
            tally.of_labels.setdefault(clip.task, []).append(float(share))
        tokens = found.prompt_tokens.reshape(len(clips), orders).sum(1)
        return [
            GenerationResult(
                text=with_probabilities(answers[values.argmax()], dict(zip(labels, values, strict=True))),
                token_counts=TokenCounts(input_tokens=int(count), output_tokens=0),
            )
            for values, count in zip(each, tokens, strict=True)
        ]

    def _generated(self, clips: list[_Clip], arguments: Mapping[str, Any], until: list[str]) -> list[GenerationResult]:
        texts = [rendered(self.processor, clip.messages) for clip in clips]
        images, videos = [clip.images for clip in clips], [clip.videos for clip in clips]
        inputs = on_device(encoded(self.processor, texts, images, videos), self.model)
        ends = {"eos_token_id": self._ends, "pad_token_id": self.tokenizer.pad_token_id}
        with torch.inference_mode():
            output = self.model.generate(**inputs, **arguments, **ends)
        answers = []
        for row, mask in zip(output, inputs["attention_mask"], strict=True):
            tokens = row[len(mask) :].tolist()
            text = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
            # the length of the answer with its end token, without padding
            length = next((i for i, token in enumerate(tokens, start=1) if token in self._ends), len(tokens))
            counts = TokenCounts(input_tokens=int(mask.sum()), output_tokens=length)
            answers.append(GenerationResult(text=cut_at(text, until), token_counts=counts))
        return answers

    def _report(self, tally: _Tally) -> None:
        if tally.faults:
            faults = "".join(f"\n  - {name}: {fault}" for name, fault in tally.faults.items())
            logger.error(f"mellm: {len(tally.faults)} clips have no answer, as their images cannot be used:{faults}")
        if tally.without_nose:
            logger.warning(
                f"mellm: {tally.without_nose} of {tally.maps} clips have no nose tip, which these motion settings "
                "need: the robust similarity fit removed their head motion instead"
            )
        for task, shares in tally.of_labels.items():
            if (share := float(np.mean(shares))) < _OF_LABELS:
                logger.warning(
                    f"mellm: decide=likelihood: all labels of {task} together have {share:.2g} of the probability, "
                    f"expected at least {_OF_LABELS}: this model would answer in other words, which were not compared. "
                    "Train it to answer with the label alone (forms: label), or use decide=generate"
                )
        log_metrics(
            total_elapsed_time=tally.seconds,
            total_gen_tokens=tally.tokens,
            avg_speed=tally.tokens / tally.seconds if tally.seconds else 0.0,
            additional_metrics={
                "total_requests": tally.requests,
                "motion_maps": tally.maps,
                "implausible_motion": tally.doubtful,
                "clips_without_answer": len(tally.faults),
                "bundled_model": int(self._is_bundled),
            },
        )


def _map(settings: MotionSettings, onset: Any, apex: Any, nose: Sequence[float] | None) -> MotionMap:
    return motion_map(onset, apex, settings, nose=nose, cache=default_cache())


def _opened(image: Any) -> Any:
    """An image for the processor; the Future of a map passes through."""
    if isinstance(image, str):
        try:
            return load_image(image)
        except ValueError as error:
            raise ImageError(str(error)) from error
    return image.convert("RGB") if isinstance(image, Image.Image) else image
