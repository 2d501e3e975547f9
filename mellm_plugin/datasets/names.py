"""Names of subjects and clips, compared without what their spellings differ in.

tokens("EP02_01f")          ('ep', '2', '1', 'f')   lists, question files: marks only separate
subject_key("sub01")        ('1',)                  the same for `01`, `1`, `6.0`-style cells, `spNO.1`
plain("S01-ne-01")          's1_ne_1'               folders on disk: marks count
person("sub01")             1                       a folder that can only be a subject's
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

Tokens = tuple[str, ...]
"""Words and numbers of a name, in lower case, numbers without leading zeros."""


@lru_cache(maxsize=1 << 16)
def tokens(name: str) -> Tokens:
    """Words and numbers in turn: `s01_ne_01`, `S1-ne-1` and `s1 ne 1` are one name. Wide characters count as narrow."""
    parts = re.findall(r"\d+|[^\W\d_]+", unicodedata.normalize("NFKC", name).lower())
    return tuple(part.lstrip("0") or "0" if part.isdigit() else part for part in parts)


def subject_key(subject: str) -> Tokens:
    """The tokens of a subject, without the word before its number.

    >>> subject_key("sub01"), subject_key("spNO.216"), subject_key("6.0"), subject_key("Anna")
    (('1',), ('216',), ('6',), ('anna',))
    """
    parts = tokens(re.sub(r"(?<=\d)\.0+$", "", subject.strip()))  # `6.0` comes from a column of floats
    return parts[1:] if len(parts) > 1 and not parts[0].isdigit() and parts[1].isdigit() else parts


@lru_cache(maxsize=1 << 16)
def plain(name: str) -> str:
    """A folder name without case, spaces and leading zeros, hyphens written as underscores.

    >>> plain("S01-ne-01"), plain(" EP02_01f "), plain("006_1_2")
    ('s1_ne_1', 'ep2_1f', '6_1_2')
    """
    return re.sub(r"0*([0-9]+)", r"\1", "".join(name.split()).casefold().replace("-", "_"))


@lru_cache(maxsize=1 << 16)
def person(name: str) -> int | None:
    """The number of a subject in any spelling; None for a name that is no numbered subject.

    >>> person("sub01"), person("s1"), person("006"), person("spNO.216"), person("Anna")
    (1, 1, 6, 216, None)
    """
    found = re.fullmatch(r"(?:s|p|sp|sub|subj|subject|spno|person|participant)?[\s._-]*0*([0-9]{1,9})", name.casefold())
    return int(found[1]) if found else None
