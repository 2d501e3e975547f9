"""An LLM judge, asked through lmms-eval's own providers, so that one clip never ends a run and costs are bounded.

    MELLM_JUDGE=openai:gpt-4o-mini,timeout=30 lmms-eval --model mellm --tasks synthme_meu

    judge = configured()                                  # None where MELLM_JUDGE is not set
    judge.grade("synthme/s03/07", reference, answer)  ->  Grade(result=Verdict(..), cached=False, requests=1, ..)
                                                          Grade(result=Unscored("timeout", "no answer in 30 s"), ..)

What lmms-eval's providers leave open is closed here:

-   The clients of `openai` and `azure` wait 600 s and send each request three times; here they send it once. That of
    `local` waits for the next byte, however slowly these come. So each request has a thread of its own, which is left
    alone at its time's end; it sends nothing more.
-   Retries are counted here alone, by clip and text: a further call for the same clip (lmms-eval repeats
    `process_results` when something in it fails) is answered from memory.
-   Where most of the last requests failed, or the server asks to come back much later, no more are sent in this run.

Verdicts, and nothing else, are kept in files, one each, renamed into place: many processes may share the folder.
"""

from __future__ import annotations

import email.utils
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
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import platformdirs
from loguru import logger

from mellm_plugin.errors import JudgeError, SettingsError, imports_of_lmms_eval, near
from mellm_plugin.scoring.rubric import CRITERIA, Unscored, Verdict, messages, read_verdict, rubric

_T = TypeVar("_T")

PROVIDERS: tuple[str, ...] = ("openai", "azure", "local")
"""lmms-eval's providers whose number of requests can be bounded: its asynchronous ones fail in threads, and that of
Bedrock sends requests again by itself."""

_WINDOW = 20  # requests that the circuit breaker looks back on; it opens where more than half of these failed
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
    """

    provider: str
    model: str
    timeout: float = 60.0
    requests: int = 3
    concurrency: int = 4
    max_tokens: int = 1024
    backoff: float = 1.0

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
        known = {f.name: f.default for f in fields(JudgeSettings) if f.name not in ("provider", "model")}
        values: dict[str, Any] = {}
        for option in filter(None, options):
            name, _, value = (part.strip() for part in option.partition("="))
            if name not in known:
                faults.append(f"{name!r} is not a setting; known: {', '.join(known)}.{near(name, known)}")
                continue
            kind: type = type(known[name])
            try:
                values[name] = kind(value)
            except ValueError:
                faults.append(f"{name}: expected {'a whole number' if kind is int else 'a number'}, found {value!r}")
                continue
            least, most = _RANGES[name]
            if not least <= values[name] <= most:
                faults.append(f"{name}: expected {least} to {most}, found {value}")
        if faults:
            raise SettingsError(faults, where="MELLM_JUDGE")
        return JudgeSettings(provider, model.strip(), **values)


_RANGES: dict[str, tuple[float, float]] = {
    "timeout": (0.1, 3600),
    "requests": (1, 10),
    "concurrency": (1, 64),
    "max_tokens": (64, 100_000),
    "backoff": (0, 60),
}


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


@dataclass(frozen=True)
class _Failure:
    """One request without a verdict; `again`: another may have one; `wait`: s, where the server said how long."""

    reason: Unscored
    again: bool
    wait: float | None = None
    fatal: bool = False
    unreachable: bool = False
    tokens: tuple[int, int] | None = None


@dataclass(frozen=True)
class _Text:
    """What one request was answered with, and the tokens of prompt and answer."""

    text: str
    tokens: tuple[int, int] | None


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
        self._recent: deque[str | None] = deque(maxlen=_WINDOW)
        self._stopped: str | None = None
        self._ended = threading.Event()
        self._not_before = 0.0
        self._sent = threading.local()
        self._server = self._open()

    # ---- what others call -------------------------------------------------------------------------------------------

    def probe(self) -> None:
        """Send one short request, or a few where it fails, to see that the judge is there.

        A judge that is there and unwell (5xx, 429, garbled answers) is told in the log and no reason to end a run.

        Raises:
            JudgeError: it cannot be reached, refuses the key, or does not know the model.
        """
        asked = [{"role": "user", "content": "Answer with the JSON object {} alone."}]
        failure: _Failure | None = None
        for attempt in range(self.settings.requests):
            if attempt:
                self._ended.wait(min(_LONGEST_WAIT, self._pause(attempt, failure.wait if failure else None)))
            answer = self._request(asked)
            if not isinstance(answer, _Failure) or answer.reason.kind not in _OF_TRANSPORT:
                return
            failure = answer
            if not failure.again:
                break
        if failure is not None and (failure.fatal or failure.unreachable):
            raise JudgeError(
                f"the judge {self.name} cannot be used: {failure.reason}. {_ADVICE[self.settings.provider]} "
                "To evaluate without a judge, unset MELLM_JUDGE."
            )
        logger.warning(
            "judge {}: it is there, but does not answer as it should: {}", self.name, failure and failure.reason
        )

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
                if self._stopped is not None:  # looked at where nothing waits any more before the request
                    if not sent:
                        result = Unscored("not asked", self._stopped)
                    break
                sent += 1
                answer = self._request(asked)
            wait = None
            if answer.tokens is not None:
                tokens = answer.tokens if tokens is None else _sum(tokens, answer.tokens)
            if isinstance(answer, _Failure):
                failure = answer
            else:
                accepted = accept(answer.text)
                if not isinstance(accepted, Unscored):
                    result = accepted
                    self._note(None)
                    break
                failure = _Failure(accepted, again=True, wait=0)
            result, wait = failure.reason, failure.wait
            failed.append(failure.reason.kind)
            self._note(failure.reason.kind)
            if wait is not None and wait > _LONGEST_WAIT:
                self._stop(f"the server asks to wait for {wait:.0f} s")
            if not failure.again or self._stopped is not None:
                break
        return result, sent, tokens, tuple(failed)

    def _pause(self, attempt: int, wait: float | None) -> float:
        if wait is not None:
            return wait * random.uniform(1, 1.1)
        return min(60.0, self.settings.backoff * float(2 ** (attempt - 1))) * random.uniform(0.5, 1)

    def _wait_for_server(self) -> None:
        # "Retry-After" is meant for all who ask, not for one thread
        while (left := self._not_before - time.monotonic()) > 0 and not self._ended.wait(left):
            continue

    def _note(self, failure: str | None) -> None:
        with self._lock:
            self._recent.append(failure)
            failures = [kind for kind in self._recent if kind is not None]
            most = 2 * len(failures) > _WINDOW
            told = f"{len(failures)} of the last {len(self._recent)} requests failed ({_counted(failures)})"
        if most:
            self._stop(told)

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

    def _open(self) -> Any:
        """lmms-eval's provider, set to send one request where it is asked once."""
        with imports_of_lmms_eval():
            from lmms_eval.llm_judge import ServerConfig, get_server

        settings = self.settings
        config = ServerConfig(
            model_name=settings.model,
            temperature=0.0,
            max_tokens=settings.max_tokens,
            timeout=settings.timeout,
            num_retries=1,
            max_concurrent=settings.concurrency,
            response_format="json",
        )
        try:
            server = get_server(settings.provider, config)
            ready = settings.provider == "local" or server.is_available()  # that of `local` asks another address
        except Exception as error:  # of any kind: openai's own where there is no key
            told = str(error).rstrip(".")
            raise JudgeError(f"the judge {self.name} cannot be used: {told}. {_ADVICE[settings.provider]}") from error
        if not ready:
            raise JudgeError(f"the judge {self.name} has no key. {_ADVICE[settings.provider]}")
        if settings.provider != "local" and getattr(server, "use_client", False):
            from openai import DefaultHttpxClient

            # A redirected request is another request: it is not followed.
            hooks = {"response": [self._remember]}
            http = DefaultHttpxClient(event_hooks=hooks, follow_redirects=False)
            server.client = server.client.with_options(max_retries=0, timeout=settings.timeout, http_client=http)
        return server

    def _remember(self, response: Any) -> None:
        """Keep what this thread's request was answered with: the provider fails over an answer without text."""
        response.read()
        self._sent.response = response

    def _request(self, asked: Sequence[Mapping[str, str]]) -> _Text | _Failure:
        """One request: the text of the answer and its tokens, or how it failed. Ends in time."""
        with imports_of_lmms_eval():
            from lmms_eval.llm_judge import Request

        found: list[_Text | _Failure] = []

        def send() -> None:
            self._sent.response = None
            try:
                found.append(_answer(self._server.evaluate(Request(messages=[dict(m) for m in asked]))))
            except Exception as error:  # of any kind: providers and their libraries have many
                found.append(_failure(error, getattr(self._sent, "response", None)))

        thread = threading.Thread(target=send, name="mellm-judge", daemon=True)
        thread.start()
        thread.join(self.settings.timeout)
        if not found:
            return _Failure(Unscored("timeout", f"no answer in {self.settings.timeout:g} s"), again=True)
        answer = found[0]
        if isinstance(answer, _Failure) and answer.wait:
            with self._lock:
                until = time.monotonic() + min(answer.wait, _LONGEST_WAIT)
                self._not_before = max(self._not_before, until)
        return answer

    # ---- what is kept -----------------------------------------------------------------------------------------------

    def _key(self, asked: Sequence[Mapping[str, str]], fresh: int) -> str:
        # the address is part of it: two servers may give two models one name
        address = {name: os.environ.get(name) for name in _ADDRESS[self.settings.provider]}
        parts = [self.name, address, rubric()[0], list(asked), self.settings.max_tokens, fresh]
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


_ADDRESS = {
    "openai": ("OPENAI_API_URL",),
    "azure": ("AZURE_ENDPOINT", "API_VERSION"),
    "local": ("LLM_JUDGE_URL",),
}

_ADVICE = {
    "openai": "Set OPENAI_API_KEY, and for another server than OpenAI's OPENAI_API_URL (it ends in /v1).",
    # the constructor of lmms-eval's provider for Azure makes a client for OpenAI first
    "azure": "Set AZURE_API_KEY, AZURE_ENDPOINT, API_VERSION, and OPENAI_API_KEY to any text: lmms-eval asks for it.",
    "local": "Set LLM_JUDGE_URL to the whole address, such as http://localhost:8000/v1/chat/completions.",
}

# ---- what an answer or an error of a provider means -----------------------------------------------------------------

_OF_TRANSPORT = ("timeout", "connection", "refused", "rate limit", "server error")


def _plain(value: Any) -> Any:
    """A provider's raw answer as dictionaries and lists."""
    return value.model_dump() if hasattr(value, "model_dump") else value


def _finish(raw: Any) -> str | None:
    try:
        reason = raw["choices"][0]["finish_reason"]
    except (KeyError, IndexError, TypeError):
        return None
    return reason if isinstance(reason, str) else None


_FINISHED: dict[str | None, Unscored] = {
    "content_filter": Unscored("content filter", "the judge's provider withheld the answer"),
    "length": Unscored("truncated", "the answer reached max_tokens"),
}


def _answer(response: Any) -> _Text | _Failure:
    used = response.usage if isinstance(response.usage, dict) else {}
    counts = [used.get(name) for name in ("prompt_tokens", "completion_tokens")]
    told = all(isinstance(count, int) and count >= 0 for count in counts)
    tokens = (int(counts[0] or 0), int(counts[1] or 0)) if told else None
    finish = _finish(_plain(response.raw_response))
    if finish in _FINISHED:
        return _Failure(_FINISHED[finish], again=False, tokens=tokens)
    return _Text(str(response.content), tokens)


def _sum(some: tuple[int, int], more: tuple[int, int]) -> tuple[int, int]:
    return some[0] + more[0], some[1] + more[1]


def _failure(error: Exception, response: Any) -> _Failure:
    """How a request failed, from what the provider raised; `response` is what openai's client got, if it got any."""
    answered = getattr(error, "response", None)
    status = getattr(answered, "status_code", None)
    said = _line(str(error))
    if isinstance(status, int) and status >= 300:
        body = str(getattr(answered, "text", ""))
        if "content_filter" in body:  # as Azure refuses a prompt
            return _Failure(_FINISHED["content_filter"], again=False)
        if status == 429:
            return _Failure(Unscored("rate limit", said), again=True, wait=_retry_after(answered))
        if status >= 500 or status in (408, 409, 425):
            return _Failure(Unscored("server error", said), again=True, wait=_retry_after(answered))
        # a request that is too long or malformed is this clip's fault alone; a key or a model is every clip's
        return _Failure(Unscored("refused", _line(f"{error} {body}")), again=False, fatal=status in (401, 403, 404))
    names = {kind.__name__ for kind in _chain(error)}
    if names & {"ConnectionRefusedError", "gaierror", "ConnectError", "NewConnectionError", "NameResolutionError"}:
        return _Failure(Unscored("connection", said), again=True, unreachable=True)
    if any("Timeout" in name for name in names):
        unreachable = any("Connect" in name and "Timeout" in name for name in names)
        return _Failure(Unscored("timeout", said), again=True, unreachable=unreachable)
    if names & {"MissingSchema", "InvalidURL", "InvalidSchema", "UnsupportedProtocol"}:
        return _Failure(Unscored("connection", said), again=False, unreachable=True)
    if "JSONDecodeError" in names:
        return _Failure(Unscored("not JSON", f"the server's answer is no JSON: {said}"), again=True, wait=0)
    if isinstance(error, OSError) or names & {"APIConnectionError", "ConnectionError", "ChunkedEncodingError"}:
        return _Failure(Unscored("connection", said), again=True)
    return _without_text(response, said)


def _line(text: str) -> str:
    return " ".join(text.split())[:300]


def _without_text(response: Any, said: str) -> _Failure:
    """The provider took an answer for one with text, and it has none."""
    try:
        raw = None if response is None else response.json()
    except ValueError:
        return _Failure(Unscored("not JSON", "the server's answer is no JSON"), again=True, wait=0)
    finish = _finish(raw)
    if finish in _FINISHED:
        return _Failure(_FINISHED[finish], again=False)
    if "list index" in said or (isinstance(raw, dict) and not raw.get("choices")):
        return _Failure(Unscored("empty choices", "the server's answer holds no choice"), again=True, wait=0)
    return _Failure(Unscored("no text", f"the server's answer holds no text: {said}"), again=True, wait=0)


def _chain(error: BaseException | None) -> list[type[BaseException]]:
    """The kinds of an error and of all that led to it, with their bases."""
    kinds: list[type[BaseException]] = []
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        error = waiting.pop()
        if not isinstance(error, BaseException) or id(error) in seen:
            continue
        seen.add(id(error))
        kinds += [kind for kind in type(error).__mro__ if issubclass(kind, BaseException)]
        # requests and urllib3 hand the cause on as an argument, or as `reason`
        waiting += [error.__cause__, error.__context__, getattr(error, "reason", None), *error.args]
    return kinds


def _retry_after(response: Any) -> float | None:
    """What a server asks to wait for, s; None where it does not say so in a way that can be read."""
    said = (response.headers.get("retry-after") or "").strip()
    if said.isascii() and said.replace(".", "", 1).isdigit():
        return float(said)
    try:
        then = email.utils.parsedate_to_datetime(said)
    except ValueError:
        return None
    return max(0.0, then.timestamp() - time.time())


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
