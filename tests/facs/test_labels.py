"""Labels, their spellings and coarse classes."""

from __future__ import annotations

from mellm_plugin.facs.labels import COARSE, LABELS, canonical_label, coarse, labels_of, spellings
from mellm_plugin.language.answers import read


def test_every_label_and_spelling_is_canonical_and_has_at_most_one_coarse_class() -> None:
    for dataset in LABELS:
        for label in labels_of(dataset):
            assert all(canonical_label(spelling.upper()) == label for spelling in (label, *spellings(label)))
            assert coarse(label) in (*COARSE, None)
    assert [coarse(label) for label in ("others", "neutral", "positive surprise")] == [None] * 3
    assert coarse("repression") == "negative"
    assert labels_of("fourdme")[-2:] == ("negative surprise", "positive surprise")
    assert labels_of("mmew") == LABELS["mmew"] and labels_of("no such dataset") == ()
    assert canonical_label("Positively  surprised") == "positive surprise" and canonical_label("lovely") is None


def test_compound_labels_of_one_dataset_change_no_answer_to_another() -> None:
    for dataset in LABELS:
        for text in ("Expression: negative surprise.", "The person is positively surprised."):
            label = read(text, labels_of(dataset)).label
            if dataset == "fourdme":
                assert label in ("negative surprise", "positive surprise")
            elif dataset != "smic":
                assert label == "surprise"
    two_classes = read("Expression: negative surprise.", LABELS["smic"])
    assert two_classes.label is None and two_classes.unparsed == "two different expressions: negative, surprise"
