"""Heads on the visual tokens: found in two architectures, pooled by place, equal to a logistic regression."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from transformers import CLIPVisionConfig, LlamaConfig, LlavaConfig, LlavaForConditionalGeneration

from mellm_plugin.errors import ModelError
from mellm_plugin.language.answers import read
from mellm_plugin.language.probabilities import apart
from mellm_plugin.models.heads import HeadAnswers, Heads, HeadShape, visual_tokens
from mellm_plugin.models.inputs import encoded, rendered
from mellm_plugin.models.loading import add_adapter, load_model, load_processor

LABELS = ("anger", "happiness", "surprise")
SHAPE = HeadShape(32, 2, 1, ("units", "sides", "label"), (4, 12), LABELS)


def llava() -> Any:
    eyes = CLIPVisionConfig(
        hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14
    )
    words = LlamaConfig(vocab_size=64, hidden_size=48, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2)
    return LlavaForConditionalGeneration(LlavaConfig(vision_config=eyes, text_config=words, image_token_id=63)).eval()


def batch(base: Path, sizes: list[tuple[int, int]]) -> Any:
    processor = load_processor(str(base))
    content = [{"type": "image"}, {"type": "text", "text": "Which?"}]
    text = rendered(processor, [{"role": "user", "content": content}])
    rng = np.random.default_rng(0)
    return encoded(processor, [text] * len(sizes), [[rng.integers(0, 256, (*s, 3), np.uint8)] for s in sizes])


def test_visual_tokens_are_what_the_tower_gives_whatever_their_number(base: Path, adapter: Path) -> None:
    inputs = batch(base, [(56, 84), (112, 56)])
    model = load_model(str(base))
    wrapped = add_adapter(load_model(str(base)), adapter, merge=False)
    for one in (model, wrapped):
        with torch.no_grad(), visual_tokens(one) as seen:
            one(**inputs)
        own = model.get_image_features(pixel_values=inputs["pixel_values"], image_grid_thw=inputs["image_grid_thw"])
        found = seen.pictures(inputs, 1)
        assert [grid for _, grid in found] == [(2, 3), (4, 2)]
        for (tokens, _), expected in zip(found, own.pooler_output, strict=True):
            assert torch.equal(tokens, expected)


def test_another_architecture_has_its_tokens_in_a_square() -> None:
    model = llava()
    ids, pixels = torch.tensor([[1, *[63] * 16, 5, 6]] * 2), torch.randn(2, 3, 56, 56)
    with torch.no_grad(), visual_tokens(model) as seen:
        model(input_ids=ids, pixel_values=pixels)
        own = model.get_image_features(pixel_values=pixels).pooler_output
    found = seen.pictures({"input_ids": ids}, 1)
    assert all(torch.allclose(tokens, of) and grid == (4, 4) for (tokens, grid), of in zip(found, own, strict=True))
    halves = seen.pictures({"input_ids": ids}, 2)
    assert len(halves) == 4 and halves[0][1] is None, "eight tokens are no square"
    with pytest.raises(ModelError, match="expected visual tokens of 3 pictures"):
        seen.pictures({"input_ids": ids}, 3)


def test_tokens_are_pooled_by_place_or_by_queries() -> None:
    tokens = torch.randn(6, 32)
    by_place = Heads(HeadShape(32, 2, 1, ("label",), (), LABELS))
    torch.nn.init.normal_(by_place.heads["label"].weight)
    moved = tokens.view(2, 3, 32).flip(1).reshape(6, 32)
    first, second = (by_place([(of, (2, 3))])["label"] for of in (tokens, moved))
    assert not torch.allclose(first, second)
    with pytest.raises(ModelError, match="set grid: 0"):
        by_place([(tokens, None)])
    by_queries = Heads(HeadShape(32, 0, 1, ("label",), (), LABELS))
    torch.nn.init.normal_(by_queries.heads["label"].weight)
    first, second = (by_queries([(of, None)])["label"] for of in (tokens, moved))
    assert torch.allclose(first, second, atol=1e-5)


def test_a_trained_head_is_a_logistic_regression_on_the_tokens() -> None:
    """Held against scikit-learn's, on the same pooled tokens."""
    rng = torch.Generator().manual_seed(0)
    classes = torch.arange(300) % 3
    signs = torch.randn(3, 9, 32, generator=rng)
    pictures = [(0.09 * signs[c] + torch.randn(9, 32, generator=rng), (3, 3)) for c in classes]
    heads = Heads(HeadShape(32, 3, 1, ("label",), (), LABELS))
    optimizer = torch.optim.AdamW(heads.parameters(), lr=2e-3, weight_decay=0.0)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(heads(pictures[:200])["label"], classes[:200])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        said = heads(pictures[200:])["label"].argmax(1)
        features = torch.stack([heads._pooled(*one) for one in pictures]).numpy()
    regression = LogisticRegression(max_iter=1000).fit(features[:200], classes[:200])
    right, theirs = float((said == classes[200:]).float().mean()), regression.score(features[200:], classes[200:])
    assert 0.5 < theirs < 1 and abs(right - theirs) < 0.08


def test_heads_answer_with_their_probabilities_and_say_what_they_lack(base: Path, tmp_path: Path) -> None:
    heads = Heads(SHAPE)
    heads.heads["units"].bias.data = torch.tensor([-3.0, 2.0])
    heads.heads["sides"].bias.data = torch.tensor([0.0, 4.0, 0.0, -4.0])
    heads.heads["label"].bias.data = torch.tensor([0.0, 2.0, 1.0])
    heads.save(tmp_path)
    inputs = batch(base, [(56, 56), (112, 56)])
    answers = HeadAnswers(load_model(str(base)), Heads.load(tmp_path))
    first, second = answers(inputs, [("all", LABELS), ("emotion", ("negative", "positive"))])
    text, probabilities = apart(first)
    assert text == "Conclusion: action units AU12 (left); expression: happiness."
    expected = torch.tensor([0.0, 2.0, 1.0]).softmax(0).tolist()
    assert probabilities == pytest.approx(dict(zip(LABELS, expected, strict=True)), abs=1e-5)
    assert read(first, LABELS, "all").aus == (12,)
    # of a coarse set without a head of its own, the fine labels count together
    assert apart(second) == ("positive", pytest.approx({"negative": 0.1192, "positive": 0.8808}, abs=1e-3))
    with pytest.raises(ModelError, match="the task asks for frown, but the heads read units"):
        answers(inputs, [("emotion", ("frown",))] * 2)


def test_labels_that_other_ones_drown_still_have_an_order(base: Path) -> None:
    heads = Heads(SHAPE)
    heads.heads["label"].bias.data = torch.tensor([500.0, 0.0, 1.0])  # the softmax of the others is 0 in float32
    answers = HeadAnswers(load_model(str(base)), heads)
    label, found = apart(answers(batch(base, [(56, 56)]), [("emotion", ("happiness", "surprise", "fear"))])[0])
    assert label == "surprise"
    assert found == {
        "happiness": pytest.approx(0.2689, abs=1e-4),
        "surprise": pytest.approx(0.7311, abs=1e-4),
        "fear": 0,
    }


def test_heads_say_what_they_never_answer(base: Path) -> None:
    model = load_model(str(base))
    answers = HeadAnswers(model, Heads(SHAPE))
    assert answers.lacking("all", (*LABELS, "fear"), (1, 4, 12)) == ["fear", "AU1"]
    assert answers.lacking("emotion", ("negative", "positive"), (1,)) == []
    assert answers.lacking("aus", (), (4,)) == []
    fine = HeadShape(32, 2, 1, ("label",), (), ("anger", "disgust"))
    assert HeadAnswers(model, Heads(fine)).lacking("emotion", ("negative", "positive"), ()) == ["positive"]
    both = HeadShape(32, 2, 1, ("label", "coarse"), (), ("anger", "disgust"))
    assert HeadAnswers(model, Heads(both)).lacking("emotion", ("negative", "positive"), ()) == []
