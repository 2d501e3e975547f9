"""An LLM judge, asked by lmms-eval's names and variables, so that one clip never ends a run and costs are bounded.

    MELLM_JUDGE=openai:gpt-4o-mini,timeout=30 lmms-eval --model mellm --tasks synthme_meu

    judge = configured()                                  # None where MELLM_JUDGE is not set
    judge.grade("synthme/s03/07", reference, answer)  ->  Grade(result=Verdict(..), cached=False, requests=1, ..)
                                                          Grade(result=Unscored("timeout", "no answer in 30 s"), ..)

-   Retries are counted by clip and text: a further call for the same clip (lmms-eval repeats `process_results` when
    something in it fails) is answered from memory.
-   Where the server no longer answers, or asks to come back much later, no more requests are sent in this run.
-   Parameters that a model refuses are found out by the first answers, and left out from then on.

Verdicts, and nothing else, are kept in files, one each, renamed into place: many processes may share the folder.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import random
import threading
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
from loguru import logger

from mellm_plugin.errors import JudgeError, SettingsError, near
from mellm_plugin.redaction import redacted
from mellm_plugin.scoring.endpoint import ADVICE, OF_TRANSPORT, PROVIDERS, VARIABLES, Endpoint, Failure, Text
from mellm_plugin.scoring.rubric import CRITERIA, Unscored, Verdict, messages, read_verdict, rubric

_T = TypeVar("_T")

# Requests: where so many of the last ones had no answer, a short one shows whether the server is still there.
_WINDOW, _SILENT = 20, 10
_FAULTY, _OF = 45, 50  # texts without a verdict, of the last ones; where there are more the judge is asked no more
_LONGEST_WAIT = 120.0  # s; a server that asks to wait for longer is not asked again for this clip


@dataclass(frozen=True)
class JudgeSettings:
    """Which judge, and how it is asked.

    Attributes:
        provider: one of `PROVIDERS`.
        model: as the provider names it; for `azure` the deployment.
        timeout: s that one request may take, from sending to the last byte.
        requests: most requests for one text.
        concurrency: most requests under way at once.
        max_tokens: most tokens of an answer; models that think before they answer need more.
        backoff: s before the second request; doubled each time, and shortened at random by up to a half.
        temperature: None: not sent.
        max_completion_tokens: in place of `max_tokens`, for models that know this name alone.
    """

    provider: str
    model: str
    timeout: float = 60.0
    requests: int = 3
    concurrency: int = 4
    max_tokens: int = 1024
    backoff: float = 1.0
    temperature: float | None = 0.0
    max_completion_tokens: int | None = None

    @staticmethod
    def parse(text: str) -> JudgeSettings:
        """The settings that `MELLM_JUDGE` holds: `PROVIDER:MODEL[,NAME=VALUE..]`.

        Raises:
            SettingsError: they cannot be used; all faults at once.
        """
        head, *options = (part.strip() for part in text.split(","))
        provider, colon, model = head.partition(":")
        faults: list[str] = []
        if not colon or not model.strip():
            faults.append(f"expected PROVIDER:MODEL, such as openai:gpt-4o-mini or local:llama3, found {head!r}")
        if provider not in PROVIDERS:
            hint = near(provider, PROVIDERS)
            faults.append(f"provider: expected one of {', '.join(PROVIDERS)}, found {provider!r}.{hint}")
        values: dict[str, Any] = {}
        for option in filter(None, options):
            name, _, value = (part.strip() for part in option.partition("="))
            if name not in _RANGES:
                faults.append(f"{name!r} is not a setting; known: {', '.join(_RANGES)}.{near(name, _RANGES)}")
                continue
            kind, least, most = _RANGES[name]
            if name == "temperature" and value.lower() == "none":
                values[name] = None
                continue
            try:
                values[name] = kind(value)
            except ValueError:
                faults.append(f"{name}: expected {'a whole number' if kind is int else 'a number'}, found {value!r}")
                continue
            if not least <= values[name] <= most:
                faults.append(f"{name}: expected {least} to {most}, found {value}")
        if {"max_tokens", "max_completion_tokens"} <= values.keys():
            faults.append("expected max_tokens or max_completion_tokens, found both")
        if faults:
            raise SettingsError([redacted(fault) for fault in faults], where="MELLM_JUDGE")
        return JudgeSettings(provider, model.strip(), **values)

    def parameters(self, refused: frozenset[str]) -> dict[str, Any]:
        """Those of a request, without the ones that the model refuses."""
        names = ("max_tokens", "max_completion_tokens")[:: -1 if self.max_completion_tokens else 1]
        known = [name for name in names if name not in refused][:1]
        found: dict[str, Any] = dict.fromkeys(known, self.max_completion_tokens or self.max_tokens)
        if self.temperature is not None:
            found["temperature"] = self.temperature
        if self.provider != "local":  # as lmms-eval asks
            found["response_format"] = {"type": "json_object"}
        return {name: value for name, value in found.items() if name not in refused}


_RANGES: dict[str, tuple[type, float, float]] = {
    "timeout": (float, 0.1, 3600),
    "requests": (int, 1, 10),
    "concurrency": (int, 1, 64),
    "max_tokens": (int, 64, 100_000),
    "backoff": (float, 0, 60),
    "temperature": (float, 0, 2),
    "max_completion_tokens": (int, 64, 100_000),
}


_PROBE = ({"role": "user", "content": "Answer with the JSON object {} alone."},)

NO_REFERENCE = Unscored("no reference", "the units or the label of the clip are not known")
"""Of a clip whose description can be compared with nothing: it is no failure of the judge, and in no score."""


@dataclass(frozen=True)
class Grade:
    """What became of one text.

    Attributes:
        result: the verdict, or why there is none.
        judge: provider and model, `openai:gpt-4o-mini`.
        rubric: its version.
        cached: whether the verdict was there from an earlier time; then nothing was sent.
        requests: requests sent for it.
        tokens: of all these requests, prompt and answer; None where the server did not say.
        failed: the kind of failure of each request that gave no verdict.
    """

    result: Verdict | Unscored
    judge: str
    rubric: str
    cached: bool = False
    requests: int = 0
    tokens: tuple[int, int] | None = None
    failed: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON; `points`, `scores` and `reasons` are None where there is no verdict."""
        row: dict[str, Any] = {"points": None, "scores": None, "reasons": None, "unscored": None}
        if isinstance(self.result, Verdict):
            row |= self.result.to_dict()
        else:
            row["unscored"] = {"kind": self.result.kind, "detail": self.result.detail}
        tokens = None if self.tokens is None else list(self.tokens)
        about = {"cached": self.cached, "requests": self.requests, "tokens": tokens, "failed": list(self.failed)}
        return {**row, "judge": self.judge, "rubric": self.rubric, **about}


class Judge:
    """One judge. Many threads may use it at once.

    Args:
        settings: which, and how it is asked.
        folder: of the verdicts that are kept between runs; None: none are.

    Raises:
        JudgeError: the provider cannot be used as the environment is set, such as without a key.
    """

    def __init__(self, settings: JudgeSettings, folder: Path | None = None) -> None:
        self.settings = settings
        self.name = f"{settings.provider}:{settings.model}"
        self._folder = folder
        self._slots = threading.BoundedSemaphore(settings.concurrency)
        self._lock = threading.Lock()
        self._asking: dict[str, threading.Lock] = {}
        self._remembered: dict[tuple[str, str], Grade] = {}
        self._recent: deque[str | None] = deque(maxlen=_WINDOW)  # requests: None, or why no answer came
        self._outcomes: deque[str | None] = deque(maxlen=_OF)  # texts: None, or why there is no verdict
        self._checking = threading.Lock()
        self._stopped: str | None = None
        self._ended = threading.Event()
        self._not_before = 0.0
        self._refused: frozenset[str] = frozenset()
        self._answered = False
        self._endpoint = Endpoint(settings.provider, settings.model)

    # ---- what others call -------------------------------------------------------------------------------------------

    def probe(self) -> None:
        """Send one short request, or a few where it fails, to see that the judge is there.

        A judge that is there and unwell (5xx, 429, garbled answers) is told in the log and no reason to end a run.

        Raises:
            JudgeError: it cannot be reached, refuses the key or the request, or does not know the model.
        """
        attempt = 1
        while True:
            answer = self._request(_PROBE)
            if isinstance(answer, Text):
                if self._refused:
                    now = ", ".join(f"{k}={v}" for k, v in self.settings.parameters(self._refused).items())
                    told = ", ".join(sorted(self._refused)), now or "none of them"
                    logger.info("judge {}: it refuses {}, and is asked with {}", self.name, *told)
                return
            if answer.refuses:
                continue  # asked without these; each is refused once
            if not answer.again or attempt >= self.settings.requests or answer.reason.kind not in OF_TRANSPORT:
                break
            self._ended.wait(min(_LONGEST_WAIT, self._pause(attempt, answer.wait)))
            attempt += 1
        if answer.fatal:
            raise JudgeError(
                f"the judge {self.name} cannot be used: {answer.reason}. {ADVICE[self.settings.provider]} "
                "To evaluate without a judge, unset MELLM_JUDGE."
            )
        logger.warning("judge {}: it is there, but does not answer as it should: {}", self.name, answer.reason)

    def grade(self, who: str, reference: str | None, description: str, fresh: int = 0) -> Grade:
        """Have one description graded. Never raises for what a judge or a network does.

        Args:
            who: whose description, such as a clip's id. The same text of the same clip is asked about once a run.
            reference: what `rubric.reference` gives; None where it is not known, then nothing is asked.
            description: the text to grade.
            fresh: another number asks again, past all that is kept: to see how far a judge repeats itself.
        """
        if reference is None:
            return Grade(NO_REFERENCE, self.name, rubric()[0])
        asked = messages(reference, description)
        key = self._key(asked, fresh)
        with self._lock:
            turn = self._asking.setdefault(key, threading.Lock())
        with turn:  # the same text from another thread waits, and finds the verdict kept
            if (known := self._remembered.get((who, key))) is not None:
                return known
            grade = self._kept(key) or self._ask(asked)
            if isinstance(grade.result, Verdict) and not grade.cached:
                self._keep(key, grade.result)
            with self._lock:
                self._remembered[who, key] = grade
            return grade

    # ---- one text ---------------------------------------------------------------------------------------------------

    def reply(self, asked: Sequence[Mapping[str, str]], accept: Callable[[str], _T | Unscored]) -> _T | Unscored:
        """What the judge's model answers to other messages, within the same bounds. Never raises for what it does.

        Args:
            asked: messages with `role` and `content`; the answer is one JSON object.
            accept: what an answer is, or why it is none, in which case it is asked for again.
        """
        return self._until(asked, accept)[0]

    def _ask(self, asked: Sequence[Mapping[str, str]]) -> Grade:
        result, sent, tokens, failed = self._until(asked, read_verdict)
        return Grade(result, self.name, rubric()[0], False, sent, tokens, failed)

    def _until(
        self, asked: Sequence[Mapping[str, str]], accept: Callable[[str], _T | Unscored]
    ) -> tuple[_T | Unscored, int, tuple[int, int] | None, tuple[str, ...]]:
        """What was answered, after how many requests, with which tokens, and the kinds of failures on the way."""
        sent = 0
        tokens: tuple[int, int] | None = None
        failed: list[str] = []
        result: _T | Unscored = Unscored("not asked")
        wait: float | None = None
        while sent < self.settings.requests:
            if sent:
                self._ended.wait(self._pause(sent, wait))
            with self._slots:
                self._wait_for_server()
                with self._checking:
                    pass  # whether the server is there is found out by one thread
                if self._stopped is not None:  # looked at where nothing waits any more before the request
                    if not sent:
                        result = Unscored("not asked", self._stopped)
                    break
                sent += 1
                answer = self._request(asked)
            wait = None
            if answer.tokens is not None:
                before = tokens or (0, 0)
                tokens = before[0] + answer.tokens[0], before[1] + answer.tokens[1]
            self._heed(answer)
            if isinstance(answer, Failure):
                failure = answer
            else:
                accepted = accept(answer.text)
                if not isinstance(accepted, Unscored):
                    result = accepted
                    break
                failure = Failure(accepted, again=True, wait=0)
            result, wait = failure.reason, failure.wait
            failed.append(failure.reason.kind)
            if wait is not None and wait > _LONGEST_WAIT:
                self._stop(f"the server asks to wait for {wait:.0f} s")
            if not failure.again or self._stopped is not None:
                break
        if sent:
            self._note(result)
        return result, sent, tokens, tuple(failed)

    def _pause(self, attempt: int, wait: float | None) -> float:
        if wait is not None:
            return wait * random.uniform(1, 1.1)
        return min(60.0, self.settings.backoff * float(2 ** (attempt - 1))) * random.uniform(0.5, 1)

    def _wait_for_server(self) -> None:
        # "Retry-After" is meant for all who ask, not for one thread
        while (left := self._not_before - time.monotonic()) > 0 and not self._ended.wait(left):
            continue

    def _heed(self, answer: Text | Failure) -> None:
        """Of one request: where two of three had no answer, see whether the server still gives any."""
        failed = isinstance(answer, Failure) and answer.reason.kind in OF_TRANSPORT
        with self._lock:
            self._recent.append(answer.reason.kind if isinstance(answer, Failure) and failed else None)
            silent = [kind for kind in self._recent if kind is not None]
            if len(silent) < _SILENT or 3 * len(silent) <= 2 * len(self._recent) or self._stopped is not None:
                return
            told = f"{len(silent)} of the last {len(self._recent)} requests failed ({_counted(silent)})"
            self._recent.clear()
        with self._checking:
            self._wait_for_server()
            short = self._request(_PROBE)
        if isinstance(short, Failure) and short.reason.kind in OF_TRANSPORT:
            self._stop(told)

    def _note(self, result: object) -> None:
        """Of one text: whether it has a verdict. A reply's fault is that of one text: only many of them end it."""
        with self._lock:
            self._outcomes.append(result.kind if isinstance(result, Unscored) else None)
            failures = [kind for kind in self._outcomes if kind is not None]
        if len(failures) > _FAULTY:
            self._stop(f"{len(failures)} of the last {_OF} descriptions have no verdict ({_counted(failures)})")

    def _stop(self, why: str) -> None:
        with self._lock:
            if self._stopped is not None:
                return
            self._stopped = why
        self._ended.set()
        logger.warning(
            "judge {}: {}; no more requests in this run. Verdicts so far are kept: run again with the same --use_cache "
            "folder to ask for the others",
            *(self.name, why),
        )

    # ---- one request ------------------------------------------------------------------------------------------------

    def _request(self, asked: Sequence[Mapping[str, str]]) -> Text | Failure:
        """One request, and what is learned from it for the next ones."""
        sent = self.settings.parameters(self._refused)
        answer = self._endpoint.ask(asked, sent, self.settings.timeout)
        with self._lock:
            if isinstance(answer, Text):
                self._answered = True
                return answer
            if answer.wait:
                self._not_before = max(self._not_before, time.monotonic() + min(answer.wait, _LONGEST_WAIT))
            # what a model refuses it refuses from the start; later it is a fault of one text
            refuses = frozenset() if self._answered else answer.refuses & sent.keys()
            self._refused |= refuses
            return replace(answer, refuses=refuses, again=bool(refuses) or answer.again)

    # ---- what is kept -----------------------------------------------------------------------------------------------

    def _key(self, asked: Sequence[Mapping[str, str]], fresh: int) -> str:
        # the address is part of it: two servers may give two models one name
        address = {n: os.environ.get(n) for n in VARIABLES[self.settings.provider] if not n.endswith("_KEY")}
        limit, temperature = self.settings.max_completion_tokens or self.settings.max_tokens, self.settings.temperature
        parts = [self.name, address, rubric()[0], list(asked), limit, fresh]
        parts += [] if temperature == 0 else [temperature]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _file(self, key: str) -> Path | None:
        return None if self._folder is None else self._folder / key[:2] / f"{key}.json"

    def _kept(self, key: str) -> Grade | None:
        file = self._file(key)
        if file is None:
            return None
        try:
            row = json.loads(file.read_bytes())
            scores = {name: row["scores"][name] for name in CRITERIA}
            reasons = {name: row["reasons"][name] for name in CRITERIA}
        except (OSError, ValueError, KeyError, TypeError):
            return None  # not there, or damaged by others: asked anew, and written over
        if not all(type(score) is int and 1 <= score <= 5 for score in scores.values()):
            return None
        return Grade(Verdict(scores, reasons), self.name, rubric()[0], cached=True)

    def _keep(self, key: str, verdict: Verdict) -> None:
        file = self._file(key)
        if file is None:
            return
        part = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
        row = {"judge": self.name, "rubric": rubric()[0], **verdict.to_dict()}
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(row, ensure_ascii=False), encoding="utf-8", errors="replace")
            part.replace(file)
        except OSError as error:
            warnings.warn(f"the judge's verdicts cannot be kept: {error}", stacklevel=2)
            with suppress(OSError):  # where nothing can be written there is no part either
                part.unlink(missing_ok=True)


# ---- the judge of a run ---------------------------------------------------------------------------------------------


def configured() -> Judge | None:
    """The judge that MELLM_JUDGE names, the same one at every call; None where it is not set.

    MELLM_JUDGE_CACHE is the folder of its verdicts; `off`: none are kept.

    Raises:
        SettingsError: MELLM_JUDGE cannot be read.
        JudgeError: the judge has no key.
    """
    asked = os.environ.get("MELLM_JUDGE", "").strip()
    if not asked:
        return None
    with _opening:
        return _opened(asked, os.environ.get("MELLM_JUDGE_CACHE", ""))


_opening = threading.Lock()


@lru_cache(maxsize=1)
def _opened(asked: str, folder: str) -> Judge:
    if folder == "off":
        return Judge(JudgeSettings.parse(asked))
    where = Path(folder).expanduser() if folder else platformdirs.user_cache_path("mellm-plugin") / "judge"
    return Judge(JudgeSettings.parse(asked), where)


@lru_cache(maxsize=1)
def _probed(judge: Judge) -> None:
    judge.probe()


def ready() -> bool:
    """Whether descriptions are judged; the first call of a process makes sure that the judge is there.

    Raises:
        SettingsError, JudgeError: a judge is set and cannot be used.
    """
    judge = configured()
    if judge is None:
        _tell_absent()
        return False
    _probed(judge)
    return True


@lru_cache(maxsize=1)
def _tell_absent() -> None:
    logger.info(
        "description_score is absent: no judge is set. To have descriptions judged: MELLM_JUDGE=openai:gpt-4o-mini and "
        "OPENAI_API_KEY, or MELLM_JUDGE=local:MODEL and LLM_JUDGE_URL; see docs/judge.md"
    )


# ---- grades become scores -------------------------------------------------------------------------------------------

Rows = Sequence[Mapping[str, Any]]
"""Grades as `Grade.to_dict` gives them."""


def description_score(rows: Rows) -> float | None:
    """Mean points, 0 to 100, of the texts that have a verdict; None where none has."""
    points = [row["points"] for row in rows if row["points"] is not None]
    return math.fsum(points) / len(points) if points else None


def judge_rate(rows: Rows) -> float | None:
    """Share of the texts with a reference that have a verdict; None where there are none."""
    rows = comparable(rows)
    return sum(row["points"] is not None for row in rows) / len(rows) if rows else None


def summary(rows: Rows) -> str:
    """One line: how many verdicts, requests, failures of each kind, and tokens."""
    compared = comparable(rows)
    scored = sum(row["points"] is not None for row in compared)
    cached = sum(row["cached"] for row in compared)
    parts = [f"{scored} of {len(compared)} descriptions have a verdict, {cached} of them kept from before"]
    if unscored := [row["unscored"]["kind"] for row in compared if row["unscored"] is not None]:
        parts.append(f"without one: {_counted(unscored)}")
    if left := len(rows) - len(compared):
        parts.append(f"{left} clips left out: their units or label are not known")
    failed = [kind for row in compared for kind in row["failed"]]
    parts.append(
        f"{sum(row['requests'] for row in compared)} requests" + (f", failed: {_counted(failed)}" if failed else "")
    )
    told = [row["tokens"] for row in compared if row["tokens"] is not None]
    prompt, answer = (sum(tokens[of] for tokens in told) for of in (0, 1))
    parts.append(f"{prompt} prompt and {answer} answer tokens" if told else "tokens not known")
    return "; ".join(parts)


def comparable(rows: Rows) -> Rows:
    """Those of the texts whose clip has a reference: the others could not be graded by any judge."""
    return [row for row in rows if row["unscored"] is None or row["unscored"]["kind"] != NO_REFERENCE.kind]


def _counted(kinds: Sequence[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(Counter(kinds).items()))
