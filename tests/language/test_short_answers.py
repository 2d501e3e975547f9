"""Short answers that models are trained on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mellm_plugin.language.lexicon import LANGUAGES
from mellm_plugin.language.short_answers import patch_answer, region_answer
from mellm_plugin.motion.regions import RegionMotion


@pytest.mark.parametrize("language", LANGUAGES)
def test_answers_on_a_region_and_on_a_patch(language: str) -> None:
    motion = RegionMotion("chin", None, 0, -2.0, 0.02, True)
    told = {"en": "up (purple), strongly", "zh": "向上（紫色），强烈"}[language]
    assert region_answer(motion, language=language) == told
    still = {"en": "no visible motion", "zh": "看不到运动"}[language]
    assert region_answer(replace(motion, visible=False), language=language) == still
    assert patch_answer(5, language=language) == {"en": "up-left (sky blue)", "zh": "向左上（天蓝色）"}[language]
