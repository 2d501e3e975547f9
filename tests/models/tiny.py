"""A Qwen2.5-VL of random weights, made from nothing in a moment: real classes, real files, no download."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForImageTextToText,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

END, PAD, IMAGE, VIDEO = "<|im_end|>", "<|endoftext|>", "<|image_pad|>", "<|video_pad|>"
BEFORE, BEHIND = "<|vision_start|>", "<|vision_end|>"
SPECIAL = (PAD, "<|im_start|>", END, BEFORE, BEHIND, IMAGE, VIDEO)
SYSTEM = "You are a helpful assistant."

# Qwen's template in short, with its habit of a system message that nobody asked for.
TEMPLATE = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\n"
    + SYSTEM
    + "<|im_end|>\n{% endif %}{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif c['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% else %}{{ c['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def processor() -> Any:
    """A token for each printable ASCII character; images of 28 x 28 to 112 x 112 pixels."""
    bytes_of_text = {ord("\n"), *range(32, 127)}
    printable = [chr(b) if b > 32 else {10: "Ċ", 32: "Ġ"}[b] for b in sorted(bytes_of_text)]
    backend = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate([*printable, *SPECIAL])}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=END, pad_token=PAD, additional_special_tokens=list(SPECIAL)
    )
    size = {"shortest_edge": 28 * 28, "longest_edge": 112 * 112}
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(size=size),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(size=size),
        chat_template=TEMPLATE,
    )


def config(tokenizer: Any, tie: bool = False) -> Any:
    """Two layers of width 32; every special token has the tokenizer's id."""
    ids = dict(zip(SPECIAL, tokenizer.convert_tokens_to_ids(list(SPECIAL)), strict=True))
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(tokenizer),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 2048,
            # The sections share out half of a head: 32 / 2 / 2.
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 2, 2]},
            "bos_token_id": ids[PAD],
            "eos_token_id": ids[END],
            "pad_token_id": ids[PAD],
            "tie_word_embeddings": tie,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 2,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        image_token_id=ids[IMAGE],
        video_token_id=ids[VIDEO],
        vision_start_token_id=ids[BEFORE],
        vision_end_token_id=ids[BEHIND],
        tie_word_embeddings=tie,
    )


def save_model(folder: Path, seed: int = 0, tie: bool = False) -> Path:
    """Write model and processor as `from_pretrained` reads them; the same weights for the same seed. `tie`: words are
    read and chosen by one matrix."""
    parts = processor()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(config(parts.tokenizer, tie))
        # Weights of the usual size make a model that says one thing whatever it sees.
        for parameter in model.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=2 * parameter.shape[-1] ** -0.5)
    # Nor does it end an answer: the likeliest character always beats the logit 0.
    model.lm_head.weight.data[parts.tokenizer.convert_tokens_to_ids(list(SPECIAL))] = 0
    model.save_pretrained(folder)
    parts.save_pretrained(folder)
    return folder


def save_adapter(folder: Path, base: Path, seed: int = 1, **settings: Any) -> Path:
    """Write a LoRA adapter of random weights for the model in `base`."""
    model = AutoModelForImageTextToText.from_pretrained(base)
    targets = settings.pop("target_modules", r".*language_model.*\.(q_proj|v_proj|gate_proj)")
    wrapped = get_peft_model(model, LoraConfig(r=4, lora_alpha=8, target_modules=targets, **settings))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for parameter in wrapped.parameters():
            if parameter.requires_grad:  # LoRA's matrices, and whatever else is trained
                torch.nn.init.normal_(parameter, std=0.3)
    wrapped.save_pretrained(folder)
    return folder


def rewrite_adapter(source: Path, folder: Path, rename: Any, **settings: Any) -> Path:
    """A copy of an adapter with other tensor names (None: left out) and other settings."""
    shutil.copytree(source, folder)
    weights = folder / "adapter_model.safetensors"
    tensors = {rename(name): tensor for name, tensor in load_file(weights).items()}
    save_file({k: v for k, v in tensors.items() if k is not None}, weights, metadata={"format": "pt"})
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))
    return folder
