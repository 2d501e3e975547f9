"""Action-unit codes: those in coding sheets, and the canonical codes of prepared datasets.

    read_codes("(R6 or R12)+R15")  ->  Codes: events R6/R12, R15
    read_codes("ref(7B)+43C")      ->  Codes: event 43C; ref(7B) is not an event
    read_codes("4A/B, soft focus") ->  Codes: event 4A-B; 'soft focus' is unread, with the reason
    parse_canonical("R14C")        ->  ActionUnit((Coded(14, side="R", intensity="C"),))

A canonical code is one event: `12`, `L12`, `R14C`, `AD31`, `M57`. Alternatives are joined by `/`, each with its own
marks: `6/12`, `R14A/17A/24A`. A mark between two is `4A-B` (trace to slight) or `A-L12` (asymmetric or left).

Sides are the subject's left and right (`L`, `R`), `A` asymmetric (both sides, one stronger) and `B` bilateral. `T` is
the top lip; before a unit of the lips (`LIPS`), `B` is the bottom lip. Intensities run from `A` (trace) to `E`
(maximum), as in FACS. `AD` is an action descriptor, `M` a movement of head or eyes.

Nothing is guessed. Separators (`+`, `&`, `and`, `,`, `;` and their wide forms) divide a code into parts. A part is read
only if all of it is a unit, or several units with blanks between them (`AU6 AU12`), and the table of units has all its
numbers; otherwise the whole part is unread. Brackets around marks are allowed: `12(A/B)`, `(L/A)4B`. FACS's numbers for
gross behaviour and for what cannot be seen (`GROSS`) are not units; they are reported.

Source: Ekman, Friesen and Hager, Facial Action Coding System (2002); the notation of the SAMM, CASME II, CAS(ME)^3,
DFME and 4DME sheets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import date, time, timedelta
from functools import lru_cache
from numbers import Integral
from typing import Any, Literal, TypeVar

from mellm_plugin.errors import CodeError
from mellm_plugin.facs.units import UNITS

LIPS: frozenset[int] = frozenset({18, 22, 23, 24, 25, 26, 28})
"""Units before which `B` means the bottom lip; before all others it means bilateral."""

_INTENSITIES = {"A": "trace", "B": "slight", "C": "marked", "D": "severe", "E": "maximum"}
_SIDES = {
    "L": "the subject's left (image right, unless mirrored)",
    "R": "the subject's right (image left, unless mirrored)",
    "A": "both sides, one stronger",
    "B": "both sides",
    "T": "top lip",
}
GROSS: dict[int, str] = {
    **{40: "sniff", 50: "speech", 80: "swallow", 81: "chewing", 82: "shoulder shrug", 84: "head shake", 85: "head nod"},
    **{91: "flash", 92: "partial flash", 97: "shiver or tremble", 98: "fast look up and down"},
    **{59: "head nod", 60: "head shake", 65: "walleye", 66: "cross-eye", 68: "eyes rolled up", 69: "head and eyes"},
    **{70: "brows not visible", 71: "eyes not visible", 72: "lower face not visible", 73: "face not visible"},
    **{74: "unscorable", 83: "head up and to the side"},
}
"""FACS's numbers that are not units: gross behaviour, the head and the eyes, and what cannot be seen."""

_KINDS = {"AU": frozenset(UNITS), "AD": frozenset({19, *range(29, 40)}), "M": frozenset(range(51, 65))}


def _reading(between: str, kinds: str, more: str) -> str:
    """The pattern of one alternative and of what follows it. There is only one way to match it."""
    return (
        rf"(?P<side>[LRABT](?:{between}[LRABT])?)?(?:(?P<kind>{kinds}))?(?P<number>[0-9]{{1,2}})"
        rf"(?P<intensity>[A-E](?:{between}[A-E](?![A-Z0-9]))?)?(?P<more>{more}|\Z)"
    )


_CANONICAL = re.compile(_reading("-", "AD|M", "/"))
_IN_SHEETS = re.compile(_reading("[/-]", "AU ?|AD ?|M", " ?/ ?| or "), re.IGNORECASE | re.ASCII)

# Wide forms, each replaced by one character, so that positions in the text stay. NFKC would turn ² and ½ into digits.
_NARROW = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | {
    **dict.fromkeys(map(ord, "、,;&\uff0c\uff1b"), ord("+")),
    **dict.fromkeys(map(ord, "[]'\"\u200b\ufeff"), ord(" ")),  # brackets and quotes of a list that a program wrote
}
_MISSING = frozenset({"", "nan", "nat", "<na>", "na", "n/a", "#n/a", "null", "nil", "/", "\\", "-", "--", "—", "–"})
_NO_UNIT = frozenset({"0", "none"})
_SCIENTIFIC = re.compile(r"[0-9]+(\.[0-9]+)?E[+-]0[0-9]+|[0-9]+\.[0-9]+E[+-]?[0-9]+", re.IGNORECASE | re.ASCII)
_WHOLE = re.compile(r"([0-9]{1,2})\.0+")
_OR = re.compile(r"(?<=[0-9A-E)]) ?or ?(?=[(LRABT]{0,2}(?:AU|AD|M)? ?[0-9])", re.IGNORECASE | re.ASCII)
_SIDE_IN_BRACKETS = re.compile(
    r"(?<!f)\(([LRABT](?: ?[/-] ?[LRABT])?)\) ?(?=(?:AU ?|AD ?|M)?[0-9])", re.IGNORECASE | re.ASCII
)
_INTENSITY_IN_BRACKETS = re.compile(r"(?<=[0-9]) ?\(([A-E](?: ?[/-] ?[A-E])?)\)", re.IGNORECASE | re.ASCII)
_GROSS = re.compile(r"(?:AU ?|AD ?|M)?([0-9]{2})", re.IGNORECASE | re.ASCII)
_REFERENCE = re.compile(r"ref ?\(([^()]+)\)", re.IGNORECASE | re.ASCII)
_KEPT = re.compile(r"([^()/ ]+|\([^()]+\)) ?\(k\)", re.IGNORECASE | re.ASCII)  # one unit, or all units in brackets
_CLOSED = re.compile(r"(?:ref ?)?\([^()]+\)(?: ?\(k\))?|[^0-9]*", re.IGNORECASE | re.ASCII)

_DATE = (
    "a spreadsheet has made a date of the code, and 4-7, 4/7 and 7/4 may give the same date; look the code up where it "
    "was first written and enter it as text"
)
_NUMBER = (
    "a spreadsheet has made a number of the code and written it with an exponent; look the code up where it was first "
    "written and enter it as text"
)
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_REASONS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE | re.ASCII), reason)
    for pattern, reason in (
        (r"\Z", "nothing between a separator and the next, or the end; a unit may be lost"),
        (r"\?+\Z", "marked as unknown by the coder"),
        (r"[^0-9]*\Z", "it holds no number, so it is no unit"),
        (rf"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}|[0-9]+-(?:{_MONTHS})\b|(?:{_MONTHS})-[0-9]", _DATE),
        (
            r"[0-9]+\.[0-9]+\Z",
            "a decimal number is no list of units: a spreadsheet may have made it of 4.7 or 4,7, and it drops zeros at "
            "the end; look the code up where it was first written and enter it as text, such as 4+7",
        ),
        (
            r".*[0-9]{3}",
            "no unit has three digits: a spreadsheet may have joined several units, or made a number of a date; look "
            "the code up where it was first written and enter it as text",
        ),
        (r".*\?", "marked as doubtful by the coder"),
        (r".*\bref\b", "expected a reference as ref(7B)"),
        (r".*[()]", "expected brackets around alternatives, (6 or 12), around a reference, ref(7B), or (k) at the end"),
        (r".*[0-9] ?- ?[0-9]", "a hyphen between numbers may mean both, or one of them; write 4+7 or (4 or 7)"),
        (r".*[0-9][A-E]? [A-Z]{0,3}[0-9]", "nothing joins the numbers; write 4+7 or (4 or 7)"),
        (r"", "expected a unit such as 12, L12, R14C, AD31 or (6 or 12)"),
    )
)
_OPEN_OR = "an `or` beside other units leaves open what belongs together; write (6 or 12)+15"


@dataclass(frozen=True)
class Coded:
    """One unit as coded: FACS number, side, intensity, and kind (`AU`, `AD` or `M`)."""

    number: int
    side: str | None = None
    intensity: str | None = None
    kind: str = "AU"

    def __str__(self) -> str:
        kind = "" if self.kind == "AU" else self.kind
        return f"{self.side or ''}{kind}{self.number}{self.intensity or ''}"

    def in_words(self) -> str:
        """`AU12 lip corner puller (zygomaticus major), mouth corners up and outwards; slight intensity`."""
        text = f"{self.kind}{self.number}"
        if unit := UNITS.get(self.number):
            muscle = f" ({unit.muscle})" if unit.muscle else ""
            text += f" {unit.name}{muscle}" + (unit.motion and f", {unit.region} {unit.motion}")
        if self.side:
            lip = {"B": "bottom lip"} if self.number in LIPS else {}
            text += "; " + ", or ".join(lip.get(mark, _SIDES[mark]) for mark in self.side.split("-"))
        if self.intensity:
            text += f"; {' to '.join(_INTENSITIES[mark] for mark in self.intensity.split('-'))} intensity"
        return text


@dataclass(frozen=True)
class ActionUnit:
    """One coded event: any one of its `readings`, usually a single one. `str` gives its canonical code."""

    readings: tuple[Coded, ...]

    @property
    def alternatives(self) -> tuple[int, ...]:
        """The FACS numbers, each once: `L12/R12` leaves only the side open, not the unit."""
        return tuple(dict.fromkeys(reading.number for reading in self.readings))

    @property
    def side(self) -> str | None:
        """The side that all alternatives share, or None."""
        return self.readings[0].side if len({reading.side for reading in self.readings}) == 1 else None

    @property
    def intensity(self) -> str | None:
        """The intensity that all alternatives share, or None."""
        return self.readings[0].intensity if len({reading.intensity for reading in self.readings}) == 1 else None

    def __str__(self) -> str:
        return "/".join(map(str, self.readings))


@dataclass(frozen=True)
class Part:
    """The text between two separators of a code.

    Its role is `event`; `none`, the statement that no unit moves; `unread`; or one that is no event: `reference`, seen
    in the reference frame already (`ref(..)`), `kept`, kept from before (`(k)`), and `gross`, see `GROSS`.
    """

    text: str
    role: Literal["event", "reference", "kept", "gross", "none", "unread"]
    units: tuple[ActionUnit, ...] = ()  # one unit for an event; otherwise the units that can be read
    reason: str = ""  # why it is unread and what to do; for gross behaviour, what it is

    def __str__(self) -> str:
        return str(self.units[0]) if self.role == "event" else self.text

    def in_words(self) -> str:
        """One sentence, without its full stop: what is coded, or why it cannot be read."""
        units = "; and ".join("; or ".join(coded.in_words() for coded in unit.readings) for unit in self.units)
        if self.role in ("event", "none"):
            return units or "no unit moves"
        why = {"reference": "seen in the reference frame already", "kept": "kept from before"}.get(
            self.role, self.reason
        )
        return f"{'not read' if self.role == 'unread' else 'no event'}, {self.text!r}: {why}" + (units and f": {units}")


@dataclass(frozen=True)
class Codes:
    """The code of one clip: its text and its parts in the order given; no parts where there is no code.

    `str` gives the code with its events in canonical form and the rest unchanged; reading it again gives the same.
    """

    text: str
    detail: tuple[Part, ...] = ()

    @property
    def units(self) -> tuple[ActionUnit, ...] | None:
        """The events. Empty: coded, and no unit moves. None: unknown; there is no code, or none could be read."""
        events = tuple(unit for part in self.detail if part.role == "event" for unit in part.units)
        return events if events or (self.detail and not self.unread) else None

    @property
    def unread(self) -> tuple[Part, ...]:
        """The parts that could not be read; they may hold further units."""
        return tuple(part for part in self.detail if part.role == "unread")

    def canonical(self) -> list[str] | None:
        """The events in the form of `Sample.aus`; None where they are unknown."""
        return None if self.units is None else [str(unit) for unit in self.units]

    def to_row(self) -> dict[str, Any]:
        """One JSON object: the text, the numbers of each event, the unread texts, and all parts."""
        return {
            "code": self.text,
            "units": None if self.units is None else [list(unit.alternatives) for unit in self.units],
            "unread": [part.text for part in self.unread],
            "detail": [asdict(part) for part in self.detail],
        }

    def __str__(self) -> str:
        return "+".join(map(str, self.detail))


def read_codes(value: object) -> Codes:
    """Read a cell of a coding sheet. Never raises on anything that a spreadsheet or a CSV file holds.

        >>> read_codes("A1B+A2C+ref(43)+soft focus").canonical()
        ['A1B', 'A2C']
        >>> read_codes(12.0).canonical(), read_codes("0").canonical(), read_codes("?").canonical()
        (['12'], [], None)

    None, NaN and their spellings mean no code. A date, a time and a decimal number are unread, because the original
    code cannot be known.
    """
    if value is None:
        return Codes("")
    # Python refuses to print very long numbers in decimal; and 1e+16 is not 1E and 16.
    text = hex(value) if isinstance(value, int) and abs(value) > 10**18 else str(value)
    if isinstance(value, float):
        text = text.replace("+", "")
    plain = text.translate(_NARROW)
    clean = _single_spaced(plain)
    if clean.lower() in _MISSING:
        return Codes(text)
    raw = text.strip()
    if isinstance(value, (date, time, timedelta)):
        return Codes(text, (Part(raw, "unread", reason=_DATE),))
    if isinstance(value, bool) or not isinstance(value, (str, Integral, float)):
        return Codes(text, (Part(raw, "unread", reason=f"expected text, int or float, found {type(value).__name__}"),))
    if whole := _WHOLE.fullmatch(clean):
        clean = whole[1]
    if clean.lower() in _NO_UNIT:
        return Codes(text, (Part(raw, "none"),))
    if _SCIENTIFIC.fullmatch(clean):
        return Codes(text, (Part(raw, "unread", reason=_NUMBER),))
    if whole or not isinstance(value, str):
        return Codes(text, (_part(raw, clean),))
    parts = [
        (text[start:end].strip(), _single_spaced(plain[start:end]))
        for start, end in _split(_without_last_comma(plain, text))
    ]
    parts = [one for part in parts for one in _by_blanks(*part)]
    if len(parts) > 1 and any(" or " in clean.lower() and not _CLOSED.fullmatch(clean) for _, clean in parts):
        return Codes(text, (Part(raw, "unread", reason=_OPEN_OR),))
    return Codes(text, tuple(_part(*part) for part in parts))


def _single_spaced(text: str) -> str:
    """The text with single blanks, with marks out of their brackets, and with blanks around `or`."""
    text = " ".join(text.split())
    for mark in (_SIDE_IN_BRACKETS, _INTENSITY_IN_BRACKETS):
        text = mark.sub(lambda found: found[1].replace(" ", ""), text)
    return _OR.sub(" or ", text)


def _without_last_comma(plain: str, text: str) -> str:
    """The text without a single comma at its end, as programs write after a list. After a `+`, a unit may be lost."""
    last = len(text.rstrip()) - 1
    commas = ",;，；、"
    single = last > 0 and text[last] in commas and text[:last].rstrip()[-1:] not in (*commas, "")
    return plain[:last] if single else plain


def _by_blanks(raw: str, clean: str) -> Iterator[tuple[str, str]]:
    """The units of a part with blanks between them (`AU6 AU12`); the part itself if it holds anything else."""
    raws, words = raw.split(), clean.split(" ")
    items: list[tuple[str, str]] = []
    at = 0
    while at < len(words) and len(raws) == len(words):
        end = at + (2 if words[at].upper() in ("AU", "AD", "M") and at + 1 < len(words) else 1)
        items.append((" ".join(raws[at:end]), " ".join(words[at:end])))
        if _readings(_IN_SHEETS, items[-1][1]) is None:
            break
        at = end
    yield from items if len(items) > 1 and at == len(words) else [(raw, clean)]


def _split(plain: str) -> Iterator[tuple[int, int]]:
    """Start and end of each part; separators inside brackets do not count."""
    depth = start = 0
    for mark in re.finditer(r"[()+]|(?<= )and(?= )", plain, re.IGNORECASE | re.ASCII):
        if mark[0] == "(":
            depth += 1
        elif mark[0] == ")":
            depth = max(0, depth - 1)
        elif depth == 0:
            yield start, mark.start()
            start = mark.end()
    yield start, len(plain)


def _part(raw: str, clean: str) -> Part:
    """Read the part written as `raw`; `clean` is the same text in narrow characters and with single spaces."""
    if (found := _GROSS.fullmatch(clean)) and int(found[1]) in GROSS:
        return Part(raw, "gross", reason=f"{GROSS[int(found[1])]}, which is no unit")
    try:
        if found := _REFERENCE.fullmatch(clean):
            seen: list[ActionUnit] = []
            for part in found[1].split("+"):
                with suppress(CodeError):  # the brackets make it no event, whatever it is
                    seen.append(_event(part.strip()))
            return Part(raw, "reference", tuple(seen))
        if found := _KEPT.fullmatch(clean):
            return Part(raw, "kept", (_event(found[1]),))
        return Part(raw, "event", (_event(clean),))
    except CodeError as error:
        return Part(raw, "unread", reason=error.faults[0])


def _event(clean: str) -> ActionUnit:
    inner = clean[1:-1].strip() if clean.startswith("(") and clean.endswith(")") else clean
    readings = _readings(_IN_SHEETS, inner)
    if readings is None or (inner != clean and len(readings) == 1):
        raise CodeError(next(reason for pattern, reason in _REASONS if pattern.match(clean)))
    for coded in readings:
        if coded.number not in UNITS:
            raise CodeError(f"no action unit has the number {coded.number} in the table of units")
        if coded.number not in _KINDS[coded.kind]:
            raise CodeError(f"{coded.number} is not written with {coded.kind}")
        if "T" in (coded.side or "") and coded.number not in LIPS:
            raise CodeError(f"T is the top lip, and unit {coded.number} is not a unit of the lips")
    return ActionUnit(readings)


def _readings(pattern: re.Pattern[str], text: str) -> tuple[Coded, ...] | None:
    """All alternatives of a text; None where it has another form."""
    readings: list[Coded] = []
    at = 0
    while match := pattern.match(text, at):
        side, intensity = (mark and mark.upper().replace("/", "-") for mark in match.group("side", "intensity"))
        readings.append(Coded(int(match["number"]), side, intensity, (match["kind"] or "AU").strip().upper()))
        if not match["more"]:
            return tuple(readings)
        at = match.end()
    return None


@lru_cache(maxsize=4096)  # a dataset has a few dozen; scores look them up clip by clip
def parse_canonical(code: str) -> ActionUnit:
    """Read one canonical code, of any number.

    Raises:
        CodeError: the code has another form.
    """
    readings = _readings(_CANONICAL, code)
    if readings is None:
        raise CodeError(f"expected a canonical code such as '12', 'L12', 'R14C', 'AD31' or '6/12', found {code!r}")
    return ActionUnit(readings)


_T = TypeVar("_T")
_U = TypeVar("_U")


def each_of(read: Callable[[_T], _U], items: Iterable[_T]) -> list[_U]:
    """`read` of each item.

    Raises:
        CodeError: lists the faults of all items.
    """
    found: list[_U] = []
    faults: list[str] = []
    for item in items:
        try:
            found.append(read(item))
        except CodeError as error:
            faults.extend(error.faults)
    if faults:
        raise CodeError(faults)
    return found


_MIRRORED = {51: 52, 52: 51, 55: 56, 56: 55, 61: 62, 62: 61}
"""Turns and tilts of head and eyes, and the ones they become in the mirrored image."""


def mirrored(code: str) -> str:
    """The canonical code of an event in the mirrored image; mirroring it again gives the original code.

        >>> mirrored("L12"), mirrored("R14C/12"), mirrored("61"), mirrored("4B")
        ('R12', 'L14C/12', '62', '4B')

    Raises:
        CodeError: the code has another form.
    """
    swapped = str.maketrans("LR", "RL")
    return "/".join(
        str(replace(r, side=r.side and r.side.translate(swapped), number=_MIRRORED.get(r.number, r.number)))
        for r in parse_canonical(code).readings
    )


def numbers(codes: Iterable[str]) -> list[tuple[int, ...]]:
    """The FACS numbers of canonical codes, one tuple of alternatives per event, in the order given.

    Raises:
        CodeError: lists all codes that cannot be read.
    """
    return [unit.alternatives for unit in each_of(parse_canonical, codes)]
