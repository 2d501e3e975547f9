"""Cells that the sheets of several datasets have: labels, objective classes, names of clips and subjects.

label(row, "emotion", "samm")                  "Other" -> "others"
objective_class(row, "objective")              "IV" -> 4
named(row, "subject", "sub{:02d}")             1 -> "sub01"
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mellm_plugin.datasets.names import person
from mellm_plugin.datasets.sheets import Row, is_missing
from mellm_plugin.errors import near
from mellm_plugin.facs.labels import canonical_label, labels_of

_ROMAN = {"I": 1, "II": 2, "III": 3, "IV": 4, "V": 5, "VI": 6, "VII": 7}


def label(row: Row, key: str, dataset: str, variants: Mapping[str, str] | None = None) -> str | None:
    """The cell as a canonical label of the dataset; None where it is empty.

    Args:
        row: of a sheet; takes the fault of a label outside the set.
        key: of the column.
        dataset: whose labels these are.
        variants: spellings of this dataset alone, in lower case, with their labels.
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
    """The cell as an objective class, 1..7, in digits or Roman; None where it is empty."""
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
    """The cell as the name of a clip or of a subject; adds a fault where it is empty. Any name goes.

    Args:
        row: of a sheet.
        key: of the column.
        form: how a subject's number is written, `sub{:02d}`; a name that is not a number stays as it is.
    """
    text = row.text(key, required=True)
    if text is None:
        return None
    text = re.split(r"[/\\]", text.rstrip("/\\"))[-1] or text  # of a path
    number = person(text) if form else None
    return text if number is None else form.format(number)
