"""How the bundled model is made, from nothing: eyes first, then the stages of `bundled.yaml` by `finetune`.

    python -m mellm_plugin.training.bundled --work DIR --out mellm_plugin/models/bundled

    DIR/base/        a small Qwen2.5-VL whose vision tower has learnt to see and whose language model has learnt nothing
    DIR/trained/     the run of `mellm finetune` on it
    --out            that model in bfloat16, with its processor, the settings of its maps and the record of its training

What finetune does with a language model that knows words, it does here with one that knows none. Cut off, the command
goes on where it was when it is given again: at the last clip drawn, at the last checkpoint. More than one thread waits
longer than it helps a model of this size, so one trains and another process paints.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, IterableDataset
from tqdm import trange
from transformers import (
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from mellm_plugin.datasets.synthme import AUS
from mellm_plugin.facs.codes import parse_canonical
from mellm_plugin.facs.labels import LABELS
from mellm_plugin.language.prompts import frames_prompt, map_prompt
from mellm_plugin.models.loading import load_model, load_processor
from mellm_plugin.models.record import write_record
from mellm_plugin.motion.settings import DEFAULT
from mellm_plugin.training import config as configs
from mellm_plugin.training.clips import DrawnClips, Record, Variation, paint, varied
from mellm_plugin.training.config import Config
from mellm_plugin.training.data import DRAWN_CLIPS, Examples
from mellm_plugin.training.finetune import finetune
from mellm_plugin.training.parts import patches_as_product

STAGES = Path(__file__).with_name("bundled.yaml")

VISION_SIDE = 168
"""Side, px, of the picture that the model sees: 36 visual tokens."""

VOCABULARY = 2048

LOOKING = 800
"""Steps in which the vision tower learns to see, before a word is learnt."""

READ = 1500
"""Examples of each stage that the tokenizer is made of."""

_SPECIAL = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
# Merges stop at these borders only, so that a whole clause may become one token: sequences stay short.
_PIECES = r"AU\d+|\d+|[.;:,+()\n]| ?[^.;:,+()\n\d]+"
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}{% for part in message['content'] %}"
    "{% if part['type'] == 'image' or 'image' in part %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' or 'video' in part %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


# --- words -----------------------------------------------------------------------------------------------------------


def build_tokenizer(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer of prompts and answers; any other text falls back to bytes."""
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
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=list(_SPECIAL),
        padding_side="left",
        model_max_length=4096,
    )


def words(config: Config, count: int = READ) -> list[str]:
    """Texts in which everything stands that the model is to read and write: prompts and answers of its stages."""
    texts: list[str] = []
    for stage in config.stages:
        examples = Examples(stage.data, config.motion, count=count, seed=config.seed, processes=config.trainer.workers)
        texts += [text for example in examples for text in (example.prompt, example.answer)]
    for labels in LABELS.values():
        for asks in ("all", "emotion", "aus"):
            texts += [map_prompt(labels, asks=asks), frames_prompt(labels, asks)] * 40
    return texts


def build_processor(texts: Sequence[str]) -> Qwen2_5_VLProcessor:
    """Processor of the bundled model: every picture is brought to about `VISION_SIDE` squared pixels."""
    area = {"shortest_edge": VISION_SIDE**2, "longest_edge": VISION_SIDE**2}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=area),
        tokenizer=build_tokenizer(texts),
        video_processor=Qwen2VLVideoProcessor(size=area),
        chat_template=_TEMPLATE,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> Qwen2_5_VLForConditionalGeneration:
    """An untrained Qwen2.5-VL of a few million parameters."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in _SPECIAL}
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
            "eos_token_id": ids["<|im_end|>"],
            "pad_token_id": ids["<|endoftext|>"],
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
    model.generation_config.eos_token_id = ids["<|im_end|>"]
    model.generation_config.pad_token_id = ids["<|endoftext|>"]
    return model


# --- eyes ------------------------------------------------------------------------------------------------------------


def unit_sides(record: Record) -> list[float]:
    """1 for each unit and side that moves, else 0: the units of `AUS` on the subject's left, then on the right."""
    moved = {(parsed.alternatives[0], parsed.side) for parsed in map(parse_canonical, record.aus or ())}
    return [float((n, side) in moved or (n, None) in moved) for side in "LR" for n in AUS]


class Pictures(IterableDataset):  # type: ignore[misc]
    """Batches of maps without end, painted anew, with the units that move in each; every clip once a round."""

    def __init__(self, drawn: DrawnClips, processor: Qwen2_5_VLProcessor, size: int, seed: int) -> None:
        self.drawn, self.processor, self.size, self.seed = drawn, processor, size, seed

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        torch.set_num_threads(1)
        rng = np.random.default_rng(self.seed)
        while True:
            order = rng.permutation(len(self.drawn.records))
            for first in range(0, len(order) - self.size + 1, self.size):
                images, moving = [], []
                for number in order[first : first + self.size]:
                    variation = Variation.draw(rng)
                    clip = varied(self.drawn.clip(int(number)), variation)
                    images.append(paint(clip, variation.settings(DEFAULT)))
                    moving.append(unit_sides(clip.record))
                yield {**self.processor.image_processor(images, return_tensors="pt"), "moving": torch.tensor(moving)}


def look(
    model: Qwen2_5_VLForConditionalGeneration, batches: Iterator[dict[str, torch.Tensor]], steps: int, rate: float
) -> float:
    """Train the vision tower to show which units move on which side, to a linear probe that is thrown away after it.

    The loss of words alone leaves a model of this size blind: it learns which words are likely, and no more.

    Args:
        model: its vision tower is changed in place.
        batches: as `Pictures` has them.
        steps: of AdamW.
        rate: its peak learning rate, which falls to zero by a cosine.

    Returns:
        the probe's loss, a mean over the last steps: binary cross-entropy of a unit on a side.
    """
    tower = model.model.visual
    patches_as_product(model)
    probe = nn.Linear((VISION_SIDE // 28) ** 2 * model.config.vision_config.out_hidden_size, 2 * len(AUS))
    optimizer = torch.optim.AdamW([*tower.parameters(), *probe.parameters()], lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.1)
    losses: list[float] = []
    for _ in (bar := trange(steps, desc="eyes", unit="step")):
        given = next(batches)
        tokens = tower(given["pixel_values"], grid_thw=given["image_grid_thw"]).pooler_output
        seen = probe(torch.cat([*tokens]).view(len(given["moving"]), -1))
        loss = functional.binary_cross_entropy_with_logits(seen, given["moving"])
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*tower.parameters(), *probe.parameters()], 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(float(loss.detach()))
        bar.set_postfix(loss=f"{np.mean(losses[-20:]):.4f}")
    return float(np.mean(losses[-20:]))


# --- all of it -------------------------------------------------------------------------------------------------------


def make_base(config: Config, folder: Path, looking: int = LOOKING, read: int = READ, rate: float = 1.5e-3) -> None:
    """Write the model that the stages start from, unless it is there."""
    if folder.is_dir():
        return
    (clips,) = {source.clips or DRAWN_CLIPS for stage in config.stages for source in stage.data}
    drawn = DrawnClips(clips, settings=DEFAULT, processes=max(1, config.trainer.workers))
    drawn.draw()
    processor = build_processor(words(config, read))
    model = build_model(processor.tokenizer, config.seed)
    pictures = Pictures(drawn, processor, config.trainer.batch_size, config.seed)
    loss = look(model, iter(DataLoader(pictures, batch_size=None, num_workers=1)), looking, rate)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters; what the eyes do not see: {loss:.4f}")
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    save(model, processor, part)
    part.rename(folder)


def train(work: Path, out: Path, changes: Sequence[str] = (), looking: int = LOOKING, read: int = READ) -> None:
    """Make the model, in two folders of `work`, and save it in `out`.

    Args:
        work: what is there already is not made again.
        out: folder of the model.
        changes: of `bundled.yaml`, as `config.load` takes them.
        looking: steps for the eyes.
        read: examples of each stage that the tokenizer is made of.

    Raises:
        InputError: changes that the config does not allow.
        TrainingError: `work` holds a run of another config.
    """
    torch.set_num_threads(1)
    cv2.setNumThreads(1)  # its threads would not live on in the forked process that paints
    base, trained = work / "base", work / "trained"
    config = configs.load(STAGES, [*changes, f"base={base}", f"output={trained}"])
    make_base(config, base, looking, read)
    made = finetune(config)
    save(load_model(str(trained), dtype="float32"), load_processor(str(trained)), out, torch.bfloat16)
    made["base"]["name"] = "a Qwen2.5-VL that has learnt to see and no words (mellm_plugin.training.bundled)"
    made["config"] |= {"base": base.name, "output": trained.name}  # wherever `work` was
    write_record(out, made)


def save(model: Any, processor: Any, out: Path, dtype: torch.dtype = torch.float32) -> None:
    """Write the model (safetensors), its processor and the settings of its maps."""
    out.mkdir(parents=True, exist_ok=True)
    model.to(dtype).save_pretrained(out)
    processor.save_pretrained(out)
    DEFAULT.save(out)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line of this module."""
    parser = argparse.ArgumentParser(prog="python -m mellm_plugin.training.bundled", description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of what is made on the way")
    parser.add_argument("--out", type=Path, required=True, help="folder of the model")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", help="change the stages' config")
    parser.add_argument("--looking", type=int, default=LOOKING, help="steps for the eyes (default: %(default)s)")
    given = parser.parse_args(arguments)
    train(given.work, given.out, given.set, given.looking)


if __name__ == "__main__":
    main()
