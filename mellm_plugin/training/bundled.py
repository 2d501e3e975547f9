"""Build the bundled model from scratch: draw clips, measure their flow, train a small Qwen2.5-VL.

    python -m mellm_plugin.training.bundled --work DIR --out mellm_plugin/models/bundled

DIR keeps flow and grey onset frame of each clip, from which training paints new variations. After an interruption, the
same command resumes at the last drawn clip or checkpoint. One thread trains and one process paints.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, IterableDataset
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from mellm_plugin.children import end_with_parent
from mellm_plugin.datasets.synthme import AUS, COMBINATIONS, VERSION
from mellm_plugin.errors import ModelError
from mellm_plugin.facs.codes import parse_canonical
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.descriptions import describe
from mellm_plugin.language.prompts import PROMPT_VERSION, frames_prompt, map_prompt, map_prompt_variants
from mellm_plugin.motion.cache import VERSION as FLOW_VERSION
from mellm_plugin.motion.settings import DEFAULT
from mellm_plugin.training.clips import Clip, DrawnClips, paint
from mellm_plugin.training.forms import label_among
from mellm_plugin.training.parts import patches_as_product
from mellm_plugin.training.variation import Variation, varied

VISION_SIDE = 168
"""Side of the model's input picture in px: 36 visual tokens."""

VOCABULARY = 1536

_LABEL_SETS = ("casme2", "samm", "smic", "casme3", "dfme", "synthme")
"""Datasets whose label sets occur in training; the shipped weights use these."""

_SPECIAL = tuple(
    f"<|{name}|>"
    for name in ("endoftext", "im_start", "im_end", "vision_start", "vision_end", "image_pad", "video_pad")
)
# Merges stop only at these borders, so that a whole clause may become one token and sequences stay short.
_PIECES = r"AU\d+|\d+|[.;:,+()\n]| ?[^.;:,+()\n\d]+"
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' or 'image' in part %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' or 'video' in part %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_IGNORED = -100


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level tokenizer trained on this package's prompts and answers; other text falls back to bytes."""
    rng = np.random.default_rng(0)
    texts: list[str] = []
    for labels in (LABELS[name] for name in _LABEL_SETS):
        texts += [*map_prompt_variants(labels), frames_prompt(labels)] * 40
    for emotion, combinations in COMBINATIONS.items():
        for combination in combinations:
            codes = [code for code in combination.split("+") if code]
            texts += [describe([(code, float(rng.uniform(0.3, 3))) for code in codes], emotion) for _ in range(12)]
    labels = ("negative", "positive", "others")
    texts += [describe([(f"{side}{number}", 1.0)], label) for number in AUS for side in "LR" for label in labels]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_PIECES), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in _SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=4,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    ends = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "additional_special_tokens": list(_SPECIAL)}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, padding_side="left", model_max_length=4096, **ends)


def build_processor() -> Qwen2_5_VLProcessor:
    """Processor of the bundled model; scales every picture to about `VISION_SIDE` squared pixels."""
    area = {"shortest_edge": VISION_SIDE**2, "longest_edge": VISION_SIDE**2}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=area),
        tokenizer=build_tokenizer(),
        video_processor=Qwen2VLVideoProcessor(size=area),
        chat_template=_TEMPLATE,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> Qwen2_5_VLForConditionalGeneration:
    """An untrained Qwen2.5-VL of a few million parameters."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in _SPECIAL}
    ends = {"eos_token_id": ids["<|im_end|>"], "pad_token_id": ids["<|endoftext|>"]}
    torch.manual_seed(seed)
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 3,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]},
            "tie_word_embeddings": True,
            "bos_token_id": ids["<|endoftext|>"],
            **ends,
        },
        vision_config={
            "depth": 3,
            "hidden_size": 160,
            "intermediate_size": 448,
            "num_heads": 5,
            "out_hidden_size": 192,
            "window_size": 112,
            "fullatt_block_indexes": [0, 1, 2],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config.eos_token_id, model.generation_config.pad_token_id = ends.values()
    return model


class Batches(IterableDataset):  # type: ignore[misc]
    """Endless training batches: new variations of maps, one prompt per batch, loss on the answers only."""

    def __init__(
        self, drawn: DrawnClips, processor: Qwen2_5_VLProcessor, size: int, seed: int, start: int, steps: int
    ) -> None:
        self.drawn, self.processor, self.size, self.seed = drawn, processor, size, seed
        self.start, self.steps = start, steps
        main = LABELS["synthme"]
        full, medium, brief = map_prompt_variants(main)
        others = [LABELS[name] for name in _LABEL_SETS if name != "synthme"]
        # Wording, its labels, and its share of batches before and after two thirds of training: vision is learnt with
        # the shortest prompt, which is cheapest.
        self.prompts = [(full, main, 0.1, 0.45), (medium, main, 0.05, 0.1), (brief, main, 0.75, 0.15)]
        self.prompts += [(map_prompt(labels), labels, 0.1 / len(others), 0.3 / len(others)) for labels in others]

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        torch.set_num_threads(1)
        cv2.setNumThreads(1)
        count = len(self.drawn.records)
        for step in itertools.count(self.start):
            rng = np.random.default_rng([self.seed, step])
            odds = np.array([prompt[3 if 3 * step >= 2 * self.steps else 2] for prompt in self.prompts])
            prompt, labels, *_ = self.prompts[rng.choice(len(odds), p=odds / odds.sum())]
            # Every clip once per round, in a random order per round.
            shown = range(step * self.size, (step + 1) * self.size)
            rounds = {number // count for number in shown}
            order = {r: np.random.default_rng([self.seed, 1, r]).permutation(count) for r in rounds}
            chosen = [self.drawn.clip(int(order[number // count][number % count])) for number in shown]
            yield self.batch(chosen, prompt, labels, rng)

    def batch(
        self, chosen: Sequence[Clip], prompt: str, labels: Sequence[str], rng: np.random.Generator
    ) -> dict[str, torch.Tensor]:
        """Tensors of one batch; skips clips whose label is not in the closed set."""
        images, answers, moving = [], [], []
        tokenizer = self.processor.tokenizer
        end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        for drawn in chosen:
            variation = Variation.draw(rng)
            clip = varied(drawn, variation)
            if (label := label_among(clip.record, labels)) is not None:
                units, px = clip.record.aus or (), clip.record.px or ()
                images.append(paint(clip, variation.settings(DEFAULT)))
                answers.append([*tokenizer(describe(list(zip(units, px, strict=True)), label)).input_ids, end])
                moving.append(unit_sides(units))
        pixels = self.processor.image_processor(images=images, return_tensors="pt")
        head = prompt_ids(self.processor, prompt, int(pixels.image_grid_thw[0].prod()) // 4)

        def padded(rows: list[list[int]], value: int) -> torch.Tensor:
            return pad_sequence([torch.tensor(row) for row in rows], batch_first=True, padding_value=value)

        ids = padded([head + answer for answer in answers], tokenizer.pad_token_id)
        return {
            "input_ids": ids,
            "attention_mask": padded([[1] * len(head + answer) for answer in answers], 0),
            "labels": padded([[_IGNORED] * len(head) + answer for answer in answers], _IGNORED),
            "moving": torch.tensor(moving),
            "mm_token_type_ids": (ids == self.processor.image_token_id).int(),
            "pixel_values": pixels.pixel_values,
            "image_grid_thw": pixels.image_grid_thw,
        }


def unit_sides(codes: Sequence[str]) -> list[float]:
    """1 for each moving unit and side, else 0: the units of `AUS` on the subject's left, then on the right."""
    moved = {(parsed.alternatives[0], parsed.side) for parsed in map(parse_canonical, codes)}
    return [float((n, side) in moved or (n, None) in moved) for side in "LR" for n in AUS]


def prompt_ids(processor: Qwen2_5_VLProcessor, prompt: str, visual: int) -> list[int]:
    """Token ids of a chat with one picture of `visual` tokens and a prompt, up to the answer."""
    message = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}]
    text = processor.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    text = text.replace(processor.image_token, processor.image_token * visual)
    return list(processor.tokenizer(text).input_ids)


class Probe(nn.Module):  # type: ignore[misc]
    """Predicts moving units from the visual tokens; guides training and is discarded afterwards.

    With the language loss alone, a model of this size learns frequent words first and ignores the picture for long.
    """

    def __init__(self, model: Qwen2_5_VLForConditionalGeneration) -> None:
        super().__init__()
        tokens = (VISION_SIDE // 28) ** 2
        self.head = nn.Linear(tokens * model.config.vision_config.out_hidden_size, 2 * len(AUS))
        self._seen = torch.empty(0)
        model.model.visual.merger.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, given: Any, tokens: torch.Tensor) -> None:
        self._seen = tokens

    def loss(self, moving: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy for the pictures of the last forward pass."""
        return functional.binary_cross_entropy_with_logits(self.head(self._seen.view(len(moving), -1)), moving)


def answer_loss(model: Qwen2_5_VLForConditionalGeneration, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Cross-entropy of the answers' tokens; computes no other logits."""
    given = {name: value for name, value in batch.items() if name not in ("labels", "moving")}
    targets = batch["labels"]
    longest = int((targets != _IGNORED).any(dim=0).sum())
    logits = model(**given, use_cache=False, logits_to_keep=longest + 1).logits[:, :-1]
    return functional.cross_entropy(logits.flatten(0, 1), targets[:, -longest:].flatten(), ignore_index=_IGNORED)


@dataclass(frozen=True)
class Recipe:
    """The settings that determine the model; a checkpoint of another recipe is refused."""

    clips: int = 24000
    steps: int = 1800  # of the optimiser; a cosine lowers the learning rate to zero over them
    looking: int = 300  # first steps, which train only the vision tower
    batch: int = 32
    rate: float = 1.5e-3  # peak, of AdamW
    seed: int = 0  # of drawings, weights, order and painting


def train(work: Path, out: Path, recipe: Recipe, checkpoint_every: int = 200, processes: int = 2) -> None:
    """Draw clips, train the model, save it as bfloat16 safetensors with its processor and map settings.

    `work` keeps the drawn clips, the checkpoint and the curve; `processes` draw clips.

    Raises:
        ModelError: the checkpoint in `work` belongs to another recipe or other prompts.
    """
    torch.set_num_threads(1)
    steps = recipe.steps
    drawn = DrawnClips(recipe.clips, recipe.seed, folder=work, processes=processes)
    drawn.draw()
    processor = build_processor()
    model = build_model(processor.tokenizer, recipe.seed)
    patches_as_product(model)
    probe = Probe(model)
    trained = [*model.parameters(), *probe.parameters()]
    decayed = {"params": [p for p in trained if p.ndim > 1], "weight_decay": 0.05}
    plain = {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}
    optimizer = torch.optim.AdamW([decayed, plain], lr=recipe.rate, betas=(0.9, 0.98))
    warm = min(100, steps // 10 + 1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min(1.0, (s + 1) / warm) * 0.5 * (1 + math.cos(math.pi * min(1.0, s / steps)))
    )
    made_from = {**asdict(recipe), "drawings": VERSION, "flow": FLOW_VERSION, "prompts": PROMPT_VERSION}
    made_from["tokens"] = len(processor.tokenizer)
    checkpoint, start = work / "checkpoint.pt", 0
    kept: dict[str, Any] = {"model": model, "probe": probe, "optimizer": optimizer, "schedule": schedule}
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        if state["made_from"] != made_from:
            raise ModelError(
                f"{checkpoint}: expected a checkpoint of {made_from}, found one of {state['made_from']}; "
                "delete it, or choose another --work"
            )
        for name, one in kept.items():
            one.load_state_dict(state[name])
        start = state["step"]
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, from step {start}", flush=True)
    painted = Batches(drawn, processor, recipe.batch, recipe.seed, start, steps)
    batches = DataLoader(painted, None, num_workers=1, prefetch_factor=2, worker_init_fn=end_with_parent)
    model.train()
    began, totals = time.monotonic(), np.zeros(2)
    for step, given in zip(range(start, steps), batches, strict=False):
        words = torch.zeros(())
        if step < recipe.looking:
            model.model.visual(given["pixel_values"], grid_thw=given["image_grid_thw"])
        else:
            words = answer_loss(model, given)
        sight = probe.loss(given["moving"])
        (words + sight).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        totals += (float(words.detach()), float(sight.detach()))
        if (step + 1) % 50 == 0:
            means = (round(float(total) / 50, 4) for total in totals)
            line = {"step": step + 1, **dict(zip(("words", "sight"), means, strict=True))}
            line["seconds"] = round(time.monotonic() - began, 1)
            totals = np.zeros(2)
            print(json.dumps(line), flush=True)
            with (work / "curve.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        if (step + 1) % checkpoint_every == 0 or step + 1 == steps:
            part = checkpoint.with_suffix(".part")
            states = {name: one.state_dict() for name, one in kept.items()}
            torch.save({**states, "step": step + 1, "made_from": made_from}, part)
            part.replace(checkpoint)
    out.mkdir(parents=True, exist_ok=True)
    model.to(torch.bfloat16).save_pretrained(out)
    processor.save_pretrained(out)
    DEFAULT.save(out)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m mellm_plugin.training.bundled", description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the drawn clips and the checkpoint")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--processes", type=int, default=2, help="how many draw at once (default: %(default)s)")
    for field in fields(Recipe):
        kind = float if field.name == "rate" else int
        parser.add_argument(f"--{field.name}", type=kind, default=field.default, help="default: %(default)s")
    given = vars(parser.parse_args(arguments))
    work, out, processes = (given.pop(name) for name in ("work", "out", "processes"))
    train(work, out, Recipe(**given), processes=processes)


if __name__ == "__main__":
    main()
