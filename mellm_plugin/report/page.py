"""A report as one HTML file that opens from disk: no server, no network, nothing beside it.

    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'sha256-..' 'sha256-..'; ..">
    <script type="application/octet-stream" id="report">H4sIAAAA..</script>      the data, JSON, gzip, base64
    <script type="application/octet-stream" id="pictures">UklGRo4..</script>     WebP files, one behind the other
    <script type="application/octet-stream" id="plotly">H4sIAAAA..</script>      the charts' library, gzip, base64
    <script>..</script>                                                          what unpacks and shows them

Answers, labels and names come from models and files of others. They reach the page as base64 alone, which cannot end a
script element, and the document as text nodes alone. Should markup ever get in, the policy runs no script but the two
whose hashes it names, and loads nothing.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from mellm_plugin.errors import InputError
from mellm_plugin.facs.units import UNITS
from mellm_plugin.report.formats import write_text

Pictures = Mapping[str, Mapping[str, bytes]]
"""Of each clip, by its id: WebP files named `onset`, `apex` and `map`."""

KINDS: tuple[str, ...] = ("onset", "apex", "map")
"""The pictures of a clip."""

SCRIPTS: tuple[str, ...] = ("text.js", "state.js", "tables.js", "charts.js", "clips.js", "views.js")
"""The page's script, in the order in which its parts are put behind each other."""

SIZE = 9_500_000
"""Bytes of a page at most."""

_LEAST = 300  # letters of an answer that stay, however many there are

ANSWER: tuple[str, ...] = ("text", "aus", "label", "coarse", "label_right", "aus_right", "unparsed", "judge", "read")
"""What is kept of an answer, a column each."""


def write(data: Mapping[str, Any], path: Path, pictures: Pictures | None = None) -> None:
    """Write the page of a report.

    Equal answers are stored once. Twenty models' answers of 300 characters to 2,000 clips take some 5 MB, of which the
    charts' library is 2. Where it would be more than `SIZE`, long answers are cut in their middle, and it says so.

    Args:
        data: the report's plain data (`Report.to_dict()`), strict JSON: no NaN.
        path: the file; replaced in one rename.
        pictures: of the clips that have any; None for a page without pictures, which may be published where the
            frames may not.

    Raises:
        InputError: the data are no strict JSON, or the file cannot be written; the former page is left as it was.
    """
    write_text(path, render(data, pictures))


def render(data: Mapping[str, Any], pictures: Pictures | None = None, size: int = SIZE) -> str:
    """The page as text, of some `size` bytes at most; see `write`."""
    index, files = _one_file(pictures or {})
    script = '"use strict";\n' + "".join(_asset(name) for name in SCRIPTS)
    plotly, packed_plotly = _plotly()
    policy = (
        f"default-src 'none'; script-src {_hash(script)} {_hash(plotly)}; style-src 'unsafe-inline';"
        " img-src blob: data:; base-uri 'none'; form-action 'none'"
    )
    filled = {
        "policy": policy,
        "style": _asset("page.css"),
        "pictures": base64.b64encode(files).decode("ascii"),
        "plotly": packed_plotly,
        "script": script,
    }
    filled["report"] = _report(data, index, size - sum(map(len, filled.values())))
    return re.sub(r"<!--\[(\w+)\]-->", lambda place: filled[place[1]], _asset("template.html"))


def _report(data: Mapping[str, Any], index: Mapping[str, Any], room: int) -> str:
    """The report's data, packed; answers are cut as far as it takes to get into so many bytes.

    Raises:
        InputError: they are no strict JSON.
    """
    longest = max((len(text) for text in _texts(data)), default=0)
    limit: int | None = None
    while True:
        packed = {**data, "boards": [_cut(board, limit) for board in data.get("boards", ())], "pictures": index}
        packed["unit_names"] = {str(number): unit.name for number, unit in UNITS.items()}
        packed["texts"] = _columns(packed["boards"])
        if limit is not None:
            note = f"answers of more than {limit} letters are cut in their middle on the page, not in report.json"
            reading = data.get("reading", {})
            packed["reading"] = {**reading, "notes": [*reading.get("notes", ()), note]}
        try:
            written = _packed(json.dumps(packed, allow_nan=False, separators=(",", ":")))
        except (TypeError, ValueError) as error:
            raise InputError(f"the report's data are no strict JSON: {error}; unknown values are null") from error
        if len(written) <= room or (limit or longest) <= _LEAST:
            return written
        # as if all bytes were those of texts, so that it takes few turns
        share = 0.9 * max(room, 0) / len(written)
        limit = max(_LEAST, min((limit or longest) * 3 // 4, _limit(list(_texts(data)), share)))


def _texts(data: Mapping[str, Any]) -> Iterator[str]:
    boards = data.get("boards", ())
    return (a["text"] for board in boards for column in board["answers"].values() for a in column if a)


def _limit(texts: Sequence[str], share: float) -> int:
    """The length to which texts are cut for so much of their letters to stay."""
    lengths = sorted(map(len, texts))
    left = share * sum(lengths)
    for place, length in enumerate(lengths):
        if length * (len(lengths) - place) >= left:
            return int(left / (len(lengths) - place))
        left -= length
    return lengths[-1]


def _cut(board: Mapping[str, Any], limit: int | None) -> dict[str, Any]:
    """A board whose answers are at most so long, but for the words that say that they are cut."""
    if limit is None:
        return dict(board)
    columns = {entry: [one and _shortened(one, limit) for one in column] for entry, column in board["answers"].items()}
    return {**board, "answers": columns}


def _shortened(answer: Mapping[str, Any], limit: int) -> Mapping[str, Any]:
    """An answer without its middle: it ends in what it concludes. What was read there is marked no more."""
    text = answer["text"]
    if len(text) <= limit:
        return answer
    head, tail = limit // 3, len(text) - (limit - limit // 3)
    between = f" [… {tail - head} letters are left out here …] "
    moved = head + len(between) - tail
    read = [[low, high, kind] for low, high, kind in answer.get("read") or () if high <= head]
    read += [[low + moved, high + moved, kind] for low, high, kind in answer.get("read") or () if low >= tail]
    return {**answer, "text": text[:head] + between + text[tail:], "read": read}


def _columns(boards: list[dict[str, Any]]) -> list[str]:
    """Turn each board's answers into columns, with places in the list of texts that is returned in place of texts."""
    given = [answer for board in boards for column in board["answers"].values() for answer in column if answer]
    texts = sorted({answer["text"] for answer in given})  # like texts side by side, which gzip makes use of
    place = {text: number for number, text in enumerate(texts)}
    for board in boards:
        columns = {}
        for entry, answers in board["answers"].items():
            columns[entry] = {name: [answer and answer.get(name) for answer in answers] for name in ANSWER}
            columns[entry]["text"] = [None if answer is None else place[answer["text"]] for answer in answers]
        board["answers"] = columns
    return texts


def _one_file(pictures: Pictures) -> tuple[dict[str, list[int | None]], bytes]:
    """All pictures behind one another, and where each clip's `KINDS` end up: `[start, length]` thrice, or nulls."""
    index: dict[str, list[int | None]] = {}
    files = bytearray()
    for clip, of_clip in pictures.items():
        places: list[int | None] = []
        for kind in KINDS:
            picture = of_clip.get(kind)
            places += [None, None] if picture is None else [len(files), len(picture)]
            files += picture or b""
        index[clip] = places
    return index, bytes(files)


def _asset(name: str) -> str:
    return (resources.files("mellm_plugin.report") / "page" / name).read_text(encoding="utf-8")


@cache
def _plotly() -> tuple[str, str]:
    """The charts' library, and the same packed."""
    source = (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    return source, _packed(source)


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode("utf-8"), 9, mtime=0)).decode("ascii")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}'"
