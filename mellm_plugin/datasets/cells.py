"""Cells that the sheets of several datasets have: labels, objective classes, names of clips and subjects.

label(row, "emotion", "samm")                  "Other" -> "others"
objective_class(row, "objective")              "IV" -> 4
matched(row, "subject", "(?:sub)?0*([0-9]+)", "sub01")
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mellm_plugin.datasets.sheets import Row
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
    if text is None:
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
    if text is None or text in ("/", "-"):
        return None
    found = _ROMAN.get(text.upper()) or (int(text) if re.fullmatch("[1-7]", text) else None)
    if found is None:
        row.faults.append(
            f"{row.names[key]}: expected a class from 1 to 7 (or I to VII), found {text!r}; correct the cell"
        )
    return found


def matched(row: Row, key: str, pattern: str, example: str) -> re.Match[str] | None:
    """The cell, if it is a name of the dataset's form; adds a fault where it is not."""
    text = row.text(key, required=True)
    if text is None:
        return None
    found = re.fullmatch(pattern, text, re.IGNORECASE | re.ASCII)
    if found is None:
        row.faults.append(f"{row.names[key]}: expected a name such as {example}, found {text!r}; correct the cell")
    return found
