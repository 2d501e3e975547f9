"""The words of an answer that decide are found in every form of answer, in both languages."""

from __future__ import annotations

import pytest

from mellm_plugin.language.deciding import deciding


@pytest.mark.parametrize(
    ("answer", "names", "expected"),
    [
        ("happiness", {"happiness", "others"}, ["happiness"]),
        ("negative surprise", {"negative surprise", "negative"}, ["negative surprise"]),
        ("action units AU4+AU10 (left)", (), ["AU4", "AU10", "left"]),
        ("动作单元 左侧AU10+AU12", (), ["左侧", "AU10", "AU12"]),
        ("action units none", (), ["none"]),
        ("no", (), ["no"]),
        ("no visible motion", (), ["no visible motion"]),
        ("向左上（蓝色到天蓝色），清楚", (), ["左上"]),
        ("brow lowerer, chin raiser", {"brow lowerer", "chin raiser"}, ["brow lowerer", "chin raiser"]),
        (
            "Inspection: the mouth corner on the image's left moves up and outwards, clearly; no motion elsewhere.\n"
            "Conclusion: action units AU12 (right); expression: happiness.",
            {"happiness"},
            ["up", "outwards", "no", "AU12", "right", "happiness"],
        ),
    ],
)  # fmt: skip
def test_words_that_decide(answer: str, names: set[str], expected: list[str]) -> None:
    assert [answer[first:behind] for first, behind in deciding(answer, names)] == expected
