"""The datasets that this package knows by name: their titles, other spellings, and the commands that prepare them.

    >>> prepare_command("casme2")
    'mellm prepare casme2 --frames FOLDER --sheet CASME2-coding-20140508.xlsx'

Other datasets are the user's own, see `table.py`.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A dataset that this package knows."""

    title: str  # its name in the literature
    arguments: str = ""  # what follows `mellm prepare NAME`, placeholders in capitals


KNOWN: dict[str, Known] = {
    "casme2": Known("CASME II", "--frames FOLDER --sheet CASME2-coding-20140508.xlsx"),
    "samm": Known("SAMM", "--frames FOLDER --sheet SAMM_Micro_FACS_Codes_v2.xlsx"),
    "smic": Known("SMIC (HS)", "--frames FOLDER"),
    "smic_vis": Known("SMIC (VIS)", "--frames FOLDER"),
    "smic_nir": Known("SMIC (NIR)", "--frames FOLDER"),
    "casme3": Known("CAS(ME)^3, part A", "--frames FOLDER --sheet ANNOTATION.xlsx"),
    "dfme": Known(
        "DFME", "--frames FOLDER --sheet train=TRAIN.xlsx --sheet test_a=TEST_A.xlsx --sheet test_b=TEST_B.xlsx"
    ),
    "mmew": Known("MMEW", "--frames FOLDER --sheet MMEW_Micro_Exp.xlsx"),
    "fourdme": Known("4DME", "--frames FOLDER --sheet 4DME.xlsx"),
    "megc_vqa": Known("MEGC ME-VQA", "--questions QUESTIONS.jsonl --videos FOLDER"),
    "synthme": Known("SynthME"),
    "synthme_ladder": Known("SynthME's amplitude ladder"),
}
"""By the name used in tasks, folders and commands."""


_OTHER_NAMES: dict[str, str] = {
    **dict.fromkeys(("casmeii", "casme02", "cas2"), "casme2"),
    **dict.fromkeys(("casmeiii", "cas3", "casme3a", "casme3parta"), "casme3"),
    **dict.fromkeys(("smichs", "smichse", "smicehs", "smicallcropped", "smicallraw"), "smic"),
    **dict.fromkeys(("smicvise", "smicevis"), "smic_vis"),
    **dict.fromkeys(("smicnire", "smicenir"), "smic_nir"),
    **dict.fromkeys(("4dme", "fourd", "4dmicro"), "fourdme"),
}
# CAS(ME)^2 is another dataset; CASME2 is short for CASME II. Only the marks tell them apart.
_CASME_SQUARED = re.compile(r"cas\s*\(\s*me\s*\)\W*(2|²|ii\b)|casme\s*(\^\W*2|²)|casme[\s_-]*sq", re.IGNORECASE)


def is_casme_squared(text: str) -> bool:
    """Whether the text names CAS(ME)^2, which is not CASME II, and unknown to this package."""
    narrow = unicodedata.normalize("NFKC", text)  # turns ² into 2, and a wide ^ into a narrow one
    return any(_CASME_SQUARED.search(one) for one in (text, narrow))


def dataset_named(text: str, own: Iterable[str] = ()) -> str | None:
    """The dataset, of those known and some `own`, that a text means in any case and width, with any marks; or None.

    >>> dataset_named("CASME_II"), dataset_named("CAS(ME)^3"), dataset_named("SMIC-HS"), dataset_named("CAS(ME)^2")
    ('casme2', 'casme3', 'smic', None)
    """
    if is_casme_squared(text):
        return None
    plain = _letters(unicodedata.normalize("NFKC", text))
    return _OTHER_NAMES.get(plain) or {_letters(name): name for name in (*own, *KNOWN)}.get(plain)


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "", text.lower())


def prepare_command(name: str) -> str:
    """The command that prepares a dataset, with placeholders; for the user's own datasets, that for tables."""
    plain = name if name in KNOWN else name.split("-v", 1)[0]  # a folder may carry its version: synthme-v1
    if plain not in KNOWN:
        return f"mellm prepare table --name {name} --csv CLIPS.csv"
    return f"mellm prepare {plain} {KNOWN[plain].arguments}".rstrip()


CONVERTED: tuple[str, ...] = tuple(name for name in KNOWN if name not in ("megc_vqa", "synthme", "synthme_ladder"))
"""Datasets that are converted from frames and coding sheets, see `converters.py`."""
