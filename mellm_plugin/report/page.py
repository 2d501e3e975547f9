"""A report as one HTML file that opens from disk: no server, no network, nothing beside it.

    <meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'sha256-..' 'sha256-..'; ..">
    <script type="application/octet-stream" id="report">H4sIAAAA..</script>      the data, JSON, gzip, base64
    <script type="application/octet-stream" id="pictures">UklGRo4..</script>     WebP files, one after the other
    <script type="application/octet-stream" id="plotly">H4sIAAAA..</script>      the charts' library, gzip, base64
    <script>..</script>                                                          unpacks and shows them

Answers, labels and names are untrusted. They enter the file only as base64, which cannot end a script element, and the
document only as text nodes. Should markup get in nevertheless, the policy allows no script but the two whose hashes it
names, and no request.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from mellm_plugin.errors import InputError
from mellm_plugin.facs.units import UNITS
from mellm_plugin.report.formats import write_text

Pictures = Mapping[str, Mapping[str, bytes]]
"""By id of the clip: WebP files named `onset`, `apex` and `map`."""

KINDS: tuple[str, ...] = ("onset", "apex", "map")
SCRIPTS: tuple[str, ...] = ("text.js", "state.js", "tables.js", "charts.js", "clips.js", "views.js")
SIZE = 9_500_000  # most bytes of a page
_LEAST = 300  # characters of an answer that are always kept

ANSWER: tuple[str, ...] = ("text", "aus", "label", "coarse", "label_right", "aus_right", "unparsed", "judge", "read")


def write(data: Mapping[str, Any], path: Path, pictures: Pictures | None = None) -> None:
    """Write the page of a report, in one rename.

    Equal answers are stored once. The answers of twenty models to 2,000 clips, of 300 characters each, take about 5 MB
    including 2 MB for the chart library. If the page would exceed `SIZE`, long answers lose their middle; a note on the
    page says so.

    Args:
        data: of `Report.to_dict()`.
        pictures: of the clips that have any; None for a page that may be published even if the frames may not.

    Raises:
        InputError: the data are not strict JSON, or the file cannot be written; the old page is unchanged.
    """
    write_text(path, render(data, pictures))


def render(data: Mapping[str, Any], pictures: Pictures | None = None, size: int = SIZE) -> str:
    """The page as text, of about `size` bytes at most; see `write`."""
    index, files = _one_file(pictures or {})
    script = '"use strict";\n' + "".join(_asset(name) for name in SCRIPTS)
    plotly, packed_plotly = _plotly()
    policy = (
        f"default-src 'none'; script-src {_hash(script)} {_hash(plotly)}; style-src 'unsafe-inline';"
        " img-src blob: data:; base-uri 'none'; form-action 'none'"
    )
    filled = {"policy": policy, "style": _asset("page.css"), "plotly": packed_plotly, "script": script}
    filled["pictures"] = base64.b64encode(files).decode("ascii")
    filled["report"] = _report(data, index, size - sum(map(len, filled.values())))
    return re.sub(r"<!--\[(\w+)\]-->", lambda place: filled[place[1]], _asset("template.html"))


def _report(data: Mapping[str, Any], index: Mapping[str, Any], room: int) -> str:
    """The report's data, packed; answers are cut until the data fit into `room` bytes.

    Raises:
        InputError: the data are not strict JSON.
    """
    lengths = sorted(len(answer["text"]) for answer in _answers(data.get("boards", ())))
    longest = limit = max(lengths, default=0)
    while True:
        boards = [_cut(board, limit) for board in data.get("boards", ())]
        packed = {**data, "boards": boards, "pictures": index}
        packed["unit_names"] = {str(number): unit.name for number, unit in UNITS.items()}
        packed["texts"] = _columns(boards)
        if limit < longest:
            note = f"on the page, not in report.json, answers of more than {limit} letters are cut in their middle"
            reading = data.get("reading", {})
            packed["reading"] = {**reading, "notes": [*reading.get("notes", ()), note]}
        try:
            written = _packed(json.dumps(packed, allow_nan=False, separators=(",", ":")))
        except (TypeError, ValueError) as error:
            raise InputError(f"the report's data are not strict JSON: {error}; unknown values are null") from error
        if len(written) <= room or limit <= _LEAST:
            return written
        # assumes that all bytes are texts, so few rounds are needed
        limit = max(_LEAST, min(limit * 3 // 4, _limit(lengths, 0.9 * max(room, 0) / len(written))))


def _answers(boards: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    return (answer for board in boards for column in board["answers"].values() for answer in column if answer)


def _limit(lengths: Sequence[int], share: float) -> int:
    """The length to cut texts of these lengths, ascending, to, so that this share of their characters stays."""
    left = share * sum(lengths)
    for place, length in enumerate(lengths):
        if length * (len(lengths) - place) >= left:
            return int(left / (len(lengths) - place))
        left -= length
    return lengths[-1]


def _cut(board: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """A board with answers of at most `limit` characters."""
    columns = {entry: [one and _shortened(one, limit) for one in column] for entry, column in board["answers"].items()}
    return {**board, "answers": columns}


def _shortened(answer: Mapping[str, Any], limit: int) -> Mapping[str, Any]:
    """An answer without its middle, because the conclusion is at its end. Marks in the middle are dropped."""
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
    """Turn the answers of each board into columns, with indices into the returned list of texts."""
    texts = sorted({answer["text"] for answer in _answers(boards)})  # similar texts side by side compress better
    place = {text: number for number, text in enumerate(texts)}
    for board in boards:
        columns = {}
        for entry, answers in board["answers"].items():
            columns[entry] = {name: [answer and answer.get(name) for answer in answers] for name in ANSWER}
            columns[entry]["text"] = [None if answer is None else place[answer["text"]] for answer in answers]
        board["answers"] = columns
    return texts


def _one_file(pictures: Pictures) -> tuple[dict[str, list[int | None]], bytes]:
    """All pictures one after the other, and start and length of each clip's `KINDS` among them, or nulls."""
    index: dict[str, list[int | None]] = {}
    files = bytearray()
    for clip, of_clip in pictures.items():
        index[clip] = []
        for kind in KINDS:
            picture = of_clip.get(kind)
            index[clip] += [None, None] if picture is None else [len(files), len(picture)]
            files += picture or b""
    return index, bytes(files)


def _asset(name: str) -> str:
    return (resources.files("mellm_plugin.report") / "page" / name).read_text(encoding="utf-8")


@cache
def _plotly() -> tuple[str, str]:
    """The chart library, plain and packed."""
    source = (resources.files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    return source, _packed(source)


def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode("utf-8"), 9, mtime=0)).decode("ascii")


def _hash(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode('utf-8')).digest()).decode('ascii')}'"
