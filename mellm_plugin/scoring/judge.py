"""An LLM judge under lmms-eval's names and variables: no clip ends a run, and the number of requests is bounded.

    MELLM_JUDGE=openai:gpt-4o-mini,timeout=30 lmms-eval --model mellm --tasks synthme_meu

    judge = configured()                                  # None if MELLM_JUDGE is not set
    judge.grade("synthme/s03/07", reference, answer)  ->  Grade(result=Verdict(..), cached=False, requests=1, ..)
                                                          Grade(result=Unscored("timeout", "no answer in 30 s"), ..)

-   A failed request is repeated (tenacity) at most `requests` times for one clip and text. Another call for the same
    clip, as when lmms-eval repeats `process_results`, is answered from memory.
-   If the server stops answering, or asks to wait for long, the judge sends no more requests in this run.
-   The first answers show which parameters the model refuses; later requests leave them out.

Verdicts, and nothing else, are stored in one file each, renamed into place: many processes may share the folder.
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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
import tenacity
from loguru import logger

from mellm_plugin.errors import JudgeError
from mellm_plugin.scoring.endpoint import ADVICE, NO_ANSWER, VARIABLES, Endpoint, Failure, Text
from mellm_plugin.scoring.judge_settings import JudgeSettings
from mellm_plugin.scoring.rubric import CRITERIA, Unscored, Verdict, messages, read_verdict, rubric
from mellm_plugin.small_files import write_text

_T = TypeVar("_T")

_WINDOW, _SILENT = 20, 10  # recent requests; if more failed, a short request checks whether the server still answers
_TEXTS, _FAULTY = 50, 45  # recent texts; if more have no verdict, the judge stops
_LONGEST_WAIT = 120.0  # s; the judge stops if the server asks to wait longer
_LONGEST_BACKOFF = 60.0  # s

_PROBE = ({"role": "user", "content": "Answer with the JSON object {} alone."},)

NO_REFERENCE = Unscored("no reference", "the units or the label of the clip are not known")
"""Result for a clip without a reference: no failure of the judge, and part of no score."""


@dataclass(frozen=True)
class Grade:
    """The judge's result for one text.

    Attributes:
        result: the verdict, or why there is none.
        judge, rubric: provider and model (`openai:gpt-4o-mini`), and version of the rubric.
        cached: whether the verdict was stored earlier; then no request was sent.
        requests, tokens: of requests, and of their prompts and answers (None if the server did not report them).
        failed: kind of failure of each request without a verdict.
    """

    result: Verdict | Unscored
    judge: str
    rubric: str
    cached: bool = False
    requests: int = 0
    tokens: tuple[int, int] | None = None
    failed: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """As JSON; without a verdict `points`, `scores` and `reasons` are None."""
        row: dict[str, Any] = {"points": None, "scores": None, "reasons": None, "unscored": None}
        row |= self.result.to_dict() if isinstance(self.result, Verdict) else {"unscored": asdict(self.result)}
        tokens = None if self.tokens is None else list(self.tokens)
        about = {"cached": self.cached, "requests": self.requests, "tokens": tokens, "failed": list(self.failed)}
        return {**row, "judge": self.judge, "rubric": self.rubric, **about}


class Judge:
    """One judge, safe for many threads. `folder` stores verdicts between runs; None: nowhere.

    Raises:
        JudgeError: the environment does not suit the provider, for example the key is missing.
    """

    def __init__(self, settings: JudgeSettings, folder: Path | None = None) -> None:
        self.settings = settings
        self.name = f"{settings.provider}:{settings.model}"
        self._folder = folder
        self._slots = threading.BoundedSemaphore(settings.concurrency)
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}
        self._remembered: dict[tuple[str, str], Grade] = {}
        self._recent: deque[str | None] = deque(maxlen=_WINDOW)  # for each request, why there was no answer
        self._outcomes: deque[str | None] = deque(maxlen=_TEXTS)  # for each text, why there is no verdict
        self._checking = threading.Lock()
        self._stopped: str | None = None
        self._ended = threading.Event()
        self._not_before = 0.0
        self._refused: frozenset[str] = frozenset()
        self._answered = False
        self._endpoint = Endpoint(settings.provider, settings.model)
        self._backoff = tenacity.wait_exponential(multiplier=settings.backoff, max=_LONGEST_BACKOFF)
        self._retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(settings.requests) | tenacity.stop_when_event_set(self._ended),
            wait=self._pause,
            sleep=tenacity.sleep_using_event(self._ended),
            retry=tenacity.retry_if_result(lambda answer: isinstance(answer, Failure) and answer.again),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )

    def probe(self) -> None:
        """Check with one short request, or a few if it fails, that the judge can be used.

        Problems of the server (5xx, 429, garbled answers) are a warning in the log and do not end a run.

        Raises:
            JudgeError: the judge is out of reach, rejects the key or the request, or does not know the model.
        """

        def once() -> Text | Failure:
            while isinstance(answer := self._request(_PROBE), Failure) and answer.refuses:
                pass  # ask again without these parameters; each is refused at most once
            if isinstance(answer, Text) or _no_answer(answer):
                return answer
            return replace(answer, again=False)

        answer = self._retrying.copy(wait=lambda state: min(_LONGEST_WAIT, self._pause(state)))(once)
        if isinstance(answer, Failure):
            if answer.fatal:
                raise JudgeError(
                    f"the judge {self.name} cannot be used: {answer.reason}. {ADVICE[self.settings.provider]} "
                    "To evaluate without a judge, unset MELLM_JUDGE."
                )
            logger.warning("judge {}: it responds, but not as expected: {}", self.name, answer.reason)
        elif self._refused:
            sent = ", ".join(f"{k}={v}" for k, v in self.settings.parameters(self._refused).items())
            refused = ", ".join(sorted(self._refused))
            logger.info("judge {}: it refuses {}; requests are sent with {}", self.name, refused, sent or "neither")

    def grade(self, who: str, reference: str | None, description: str, fresh: int = 0) -> Grade:
        """Grade one description. Never raises for the behaviour of a server or a network.

        Args:
            who: owner of the description, such as a clip id. In one run, a text of one owner is sent only once.
            reference: as `rubric.reference` returns it; None if it is unknown, then nothing is sent.
            fresh: another number bypasses all stored verdicts, to measure how consistent a judge is.
        """
        if reference is None:
            return Grade(NO_REFERENCE, self.name, rubric()[0])
        request = messages(reference, description)
        key = self._key(request, fresh)
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:  # another thread with the same text waits, and finds the verdict stored
            if (known := self._remembered.get((who, key))) is not None:
                return known
            file = self._folder and self._folder / key[:2] / f"{key}.json"
            grade = self._load(file) if file else None
            if grade is None:
                result, sent, tokens, failed = self._ask(request, read_verdict)
                grade = Grade(result, self.name, rubric()[0], False, sent, tokens, failed)
                if file and isinstance(result, Verdict):
                    self._save(file, result)
            with self._lock:
                self._remembered[who, key] = grade
            return grade

    def reply(self, request: Sequence[Mapping[str, str]], accept: Callable[[str], _T | Unscored]) -> _T | Unscored:
        """The answer of the judge's model to other messages, within the same bounds. Raises as little as `grade`.

        Args:
            request: messages with `role` and `content`; the answer is one JSON object.
            accept: reads an answer, or returns why it is unusable; then the request is repeated.
        """
        return self._ask(request, accept)[0]

    # ---- one text ---------------------------------------------------------------------------------------------------

    def _ask(
        self, request: Sequence[Mapping[str, str]], accept: Callable[[str], _T | Unscored]
    ) -> tuple[_T | Unscored, int, tuple[int, int] | None, tuple[str, ...]]:
        """The accepted answer, the number of requests, their tokens, and the kind of each failure."""
        tokens: list[tuple[int, int]] = []
        failures: list[Failure] = []
        sent = 0

        def attempt() -> _T | Failure:
            nonlocal sent
            with self._slots:
                self._wait_for_server()
                with self._checking:
                    pass  # one thread checks the server, the others wait for the result
                if self._stopped is not None:  # checked last, immediately before the request
                    last = failures[-1] if failures else Failure(Unscored("not asked", self._stopped), again=False)
                    return replace(last, again=False)
                sent += 1
                answer = self._request(request)
            if answer.tokens is not None:
                tokens.append(answer.tokens)
            self._check_server(answer)
            if isinstance(answer, Text):
                accepted = accept(answer.text)
                if not isinstance(accepted, Unscored):
                    return accepted
                answer = Failure(accepted, again=True, wait=0)
            failures.append(answer)
            if answer.wait is not None and answer.wait > _LONGEST_WAIT:
                self._stop(f"the server asks to wait for {answer.wait:.0f} s")
            return answer

        answer = self._retrying(attempt)
        result = answer.reason if isinstance(answer, Failure) else answer
        if sent:
            self._check_texts(result)
        total = (sum(prompt for prompt, _ in tokens), sum(text for _, text in tokens)) if tokens else None
        return result, sent, total, tuple(failure.reason.kind for failure in failures)

    def _pause(self, state: tenacity.RetryCallState) -> float:
        failure = state.outcome.result() if state.outcome else None
        if isinstance(failure, Failure) and failure.wait is not None:
            return failure.wait * random.uniform(1, 1.1)
        return self._backoff(state) * random.uniform(0.5, 1)

    def _wait_for_server(self) -> None:
        # "Retry-After" concerns all threads.
        while (left := self._not_before - time.monotonic()) > 0 and not self._ended.wait(left):
            continue

    def _check_server(self, answer: Text | Failure) -> None:
        """After a request: if two of three recent ones had no answer, check whether the server still answers."""
        with self._lock:
            self._recent.append(_no_answer(answer))
            silent = [kind for kind in self._recent if kind is not None]
            if len(silent) < _SILENT or 3 * len(silent) <= 2 * len(self._recent) or self._stopped is not None:
                return
            why = f"{len(silent)} of the last {len(self._recent)} requests failed ({_counted(silent)})"
            self._recent.clear()
        with self._checking:
            self._wait_for_server()
            short = self._request(_PROBE)
        if _no_answer(short):
            self._stop(why)

    def _check_texts(self, result: object) -> None:
        """After a text: single failures may come from the text, many of them end the requests."""
        with self._lock:
            self._outcomes.append(result.kind if isinstance(result, Unscored) else None)
            failures = [kind for kind in self._outcomes if kind is not None]
        if len(failures) > _FAULTY:
            self._stop(f"{len(failures)} of the last {_TEXTS} descriptions have no verdict ({_counted(failures)})")

    def _stop(self, why: str) -> None:
        with self._lock:
            if self._stopped is not None:
                return
            self._stopped = why
        self._ended.set()
        logger.warning(
            "judge {}: {}; no more requests in this run. The verdicts so far are stored: run again with the same "
            "--use_cache folder to request the others",
            *(self.name, why),
        )

    def _request(self, request: Sequence[Mapping[str, str]]) -> Text | Failure:
        """Send one request, and remember what its answer means for the next ones."""
        sent = self.settings.parameters(self._refused)
        answer = self._endpoint.ask(request, sent, self.settings.timeout)
        with self._lock:
            if isinstance(answer, Text):
                self._answered = True
                return answer
            if answer.wait:
                self._not_before = max(self._not_before, time.monotonic() + min(answer.wait, _LONGEST_WAIT))
            # A model refuses a parameter from the start; a later refusal concerns one text.
            refuses = frozenset() if self._answered else answer.refuses & sent.keys()
            self._refused |= refuses
            return replace(answer, refuses=refuses, again=bool(refuses) or answer.again)

    def _key(self, request: Sequence[Mapping[str, str]], fresh: int) -> str:
        # The address is included: two servers may use one name for two models.
        address = {n: os.environ.get(n) for n in VARIABLES[self.settings.provider] if not n.endswith("_KEY")}
        limit, temperature = self.settings.max_completion_tokens or self.settings.max_tokens, self.settings.temperature
        parts = [self.name, address, rubric()[0], list(request), limit, fresh]
        parts += [] if temperature == 0 else [temperature]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def _load(self, file: Path) -> Grade | None:
        try:
            row = json.loads(file.read_bytes())
            scores, reasons = ({name: row[part][name] for name in CRITERIA} for part in ("scores", "reasons"))
        except (OSError, ValueError, KeyError, TypeError):
            return None  # absent or damaged: the text is graded again and the file replaced
        valid = all(type(score) is int and 1 <= score <= 5 for score in scores.values())
        return Grade(Verdict(scores, reasons), self.name, rubric()[0], cached=True) if valid else None

    def _save(self, file: Path, verdict: Verdict) -> None:
        row = {"judge": self.name, "rubric": rubric()[0], **verdict.to_dict()}
        text = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace").decode()  # replaces lone surrogates
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            write_text(file, text)
        except OSError as error:
            warnings.warn(f"the judge's verdicts cannot be stored: {error}", stacklevel=2)


def _no_answer(answer: Text | Failure) -> str | None:
    """Why there was no answer at all; None if there was one."""
    return answer.reason.kind if isinstance(answer, Failure) and answer.reason.kind in NO_ANSWER else None


# ---- the judge of a run ---------------------------------------------------------------------------------------------


_opening = threading.Lock()


def configured() -> Judge | None:
    """The judge that MELLM_JUDGE names, the same object in every call; None if it is not set.

    MELLM_JUDGE_CACHE is the folder of its verdicts; `off`: none are stored.

    Raises:
        SettingsError: MELLM_JUDGE is not valid.
        JudgeError: the judge has no key.
    """
    with _opening:
        text = os.environ.get("MELLM_JUDGE", "").strip()
        return _opened(text, os.environ.get("MELLM_JUDGE_CACHE", "")) if text else None


@lru_cache(maxsize=1)
def _opened(text: str, folder: str) -> Judge:
    where = Path(folder).expanduser() if folder else platformdirs.user_cache_path("mellm-plugin") / "judge"
    return Judge(JudgeSettings.parse(text), None if folder == "off" else where)


def ready() -> bool:
    """Whether descriptions are judged; the first call of a process checks that the judge can be used.

    Raises:
        SettingsError, JudgeError: a judge is set and cannot be used.
    """
    return _usable(configured())


@lru_cache(maxsize=2)
def _usable(judge: Judge | None) -> bool:
    if judge is not None:
        judge.probe()
        return True
    logger.info(
        "description_score is absent: no judge is set. To have descriptions judged: MELLM_JUDGE=openai:gpt-4o-mini and "
        "OPENAI_API_KEY, or MELLM_JUDGE=local:MODEL and LLM_JUDGE_URL; see docs/judge.md"
    )
    return False


# ---- scores of grades -----------------------------------------------------------------------------------------------

Rows = Sequence[Mapping[str, Any]]
"""Grades as `Grade.to_dict` returns them."""


def description_score(rows: Rows) -> float | None:
    """Mean points, 0 to 100, of the texts with a verdict; None without any."""
    points = [row["points"] for row in rows if row["points"] is not None]
    return math.fsum(points) / len(points) if points else None


def judge_rate(rows: Rows) -> float | None:
    """Share of the texts with a reference that have a verdict; None without any."""
    graded = [row["points"] is not None for row in rows if gradable(row)]
    return sum(graded) / len(graded) if graded else None


def summary(rows: Rows) -> str:
    """One line: numbers of verdicts, requests, failures of each kind, and tokens."""
    compared = list(filter(gradable, rows))
    scored, cached = sum(row["points"] is not None for row in compared), sum(row["cached"] for row in compared)
    parts = [f"{scored} of {len(compared)} descriptions have a verdict, {cached} of them stored earlier"]
    if unscored := [row["unscored"]["kind"] for row in compared if row["unscored"] is not None]:
        parts.append(f"without one: {_counted(unscored)}")
    if left := len(rows) - len(compared):
        parts.append(f"{left} clips left out: their units or label are not known")
    failed = _counted(kind for row in compared for kind in row["failed"])
    parts.append(f"{sum(row['requests'] for row in compared)} requests" + (f", failed: {failed}" if failed else ""))
    tokens = [row["tokens"] for row in compared if row["tokens"] is not None]
    prompt, answer = (sum(pair[place] for pair in tokens) for place in (0, 1))
    parts.append(f"{prompt} prompt and {answer} answer tokens" if tokens else "tokens not known")
    return "; ".join(parts)


def gradable(row: Mapping[str, Any]) -> bool:
    """Whether the clip of a text has a reference; no judge could grade others."""
    return row["unscored"] is None or row["unscored"]["kind"] != NO_REFERENCE.kind


def _counted(kinds: Iterable[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in sorted(Counter(kinds).items()))
