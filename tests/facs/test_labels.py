"""Labels, their spellings and coarse classes."""

from __future__ import annotations

from mellm_plugin.facs.labels import COARSE, LABELS, canonical_label, coarse, spellings


def test_every_label_is_canonical_and_has_at_most_one_coarse_class() -> None:
    for labels in LABELS.values():
        for label in labels:
            assert canonical_label(label) == label
            assert coarse(label) in (*COARSE, None)
    assert coarse("others") is None and coarse("neutral") is None and coarse("repression") == "negative"


def test_spellings_lead_back() -> None:
    for label in ("happiness", "others", "sadness"):
        assert all(canonical_label(spelling.upper()) == label for spelling in spellings(label))
    assert canonical_label("lovely") is None
