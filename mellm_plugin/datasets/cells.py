"""Cells that several coding sheets share: labels, objective classes, names of clips and subjects.

label(row, "emotion", "samm")                  "Other" -> "others"
objective_class(row, "objective")              "IV" -> 4
named(row, "subject", "sub{:02d}")             1 -> "sub01"
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from mellm_plugin.datasets.entry import Entry
from mellm_plugin.datasets.frames import Names
from mellm_plugin.datasets.names import person
from mellm_plugin.datasets.sheets import Column, Row, is_missing
from mellm_plugin.errors import near
from mellm_plugin.facs.labels import canonical_label, labels_of

_KEYS = ("subject", "clip", "onset", "apex", "offset", "aus", "emotion")
_ROMAN = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6, "VII": 7}


def columns(*names: str, merged: Collection[str] = ("subject",), **optional: str) -> dict[str, Column]:
    """The columns of a coding sheet: their names in it, `Onset, OnsetFrame`.

    Args:
        names: of subject, clip, onset, apex, offset, action units and emotion.
        merged: keys of columns whose merged cells count for each of their rows.
        optional: further columns by key, which the sheet may lack.
    """
    known = {key: Column(*name.split(", "), merged=key in merged) for key, name in zip(_KEYS, names, strict=True)}
    return known | {key: Column(*name.split(", "), required=False) for key, name in optional.items()}


def label(row: Row, key: str, dataset: str, variants: Mapping[str, str] | None = None) -> str | None:
    """The cell as a canonical label of the dataset; None if it is empty. Another label is a fault of the row.

    `variants` holds labels by their spelling in this sheet alone, in lower case.
    """
    text = row.text(key)
    if text is None or is_missing(text):
        return None
    found = (variants or {}).get(text.lower()) or canonical_label(text)
    known = labels_of(dataset)
    if found not in known:
        row.faults.append(
            f"{row.names[key]}: expected one of {', '.join(known)}, found {text!r}; correct the cell."
            f"{near(text.lower(), known)}"
        )
        return None
    return found


def objective_class(row: Row, key: str) -> int | None:
    """The cell as an objective class, 1..7, in digits or Roman numerals; None if it is empty."""
    text = row.text(key)
    if text is None or is_missing(text):
        return None
    found = _ROMAN.get(text.upper()) or (int(text) if re.fullmatch("[1-7]", text) else None)
    if found is None:
        row.faults.append(
            f"{row.names[key]}: expected a class from 1 to 7 (or I to VII), found {text!r}; correct the cell"
        )
    return found


def named(row: Row, key: str, form: str = "") -> str | None:
    """The cell as the name of a clip or a subject, numbered ones in a form, `sub{:02d}`; an empty cell is a fault."""
    text = row.text(key, required=True)
    if text is None:
        return None
    text = re.split(r"[/\\]", text.rstrip("/\\"))[-1] or text  # a path: its last part
    number = person(text) if form else None
    return text if number is None else form.format(number)


def check_subject(row: Row, subject: str, clip: str) -> None:
    """Add a fault if the clip's name begins with another subject's number: `006_1_2` of subject 7."""
    first, mark, _ = clip.partition("_")
    if mark and None not in (person(first), person(subject)) and person(first) != person(subject):
        row.faults.append(f"expected a clip of subject {subject}, found {clip}; correct the row")


def sheet_entry(
    row: Row,
    dataset: str,
    subject: str,
    clip: str,
    names: tuple[Names, ...],
    *,
    fps: float | None = None,
    variants: Mapping[str, str] | None = None,
) -> Entry:
    """The entry of a row with the columns of `columns`; subject and clip are normalised."""
    return Entry(
        *(f"{dataset}/{subject}/{clip}", subject, clip, "", names),
        onset=row.whole("onset", required=True),
        apex=row.whole("apex"),
        offset=row.whole("offset"),
        emotion=label(row, "emotion", dataset, variants),
        au_code=row.raw("aus"),
        objective_class=objective_class(row, "objective"),
        fps=fps,
    )
