"""One request to a server that speaks OpenAI's protocol, bounded in time and size, and the meaning of its answer.

    Endpoint("openai", "gpt-4o-mini").ask(messages, {"max_tokens": 1024}, timeout=30)
        -> Text("{..}", tokens=(100, 20))
        -> Failure(Unscored("rate limit", "429 Too many requests"), again=True, wait=2.0)

Providers have the names and variables of lmms-eval. Its own providers repeat requests, wait as long as bytes arrive,
read answers of any size, follow redirects and log what a server echoes. Here a request and its connection end in time,
at most `_LARGEST` bytes of an answer are read, redirects are not followed, and keys are redacted from everything.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import logging
import os
import queue
import re
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mellm_plugin.errors import JudgeError
from mellm_plugin.language.unanswered import in_words
from mellm_plugin.redaction import redacted
from mellm_plugin.scoring.rubric import Unscored

PROVIDERS: tuple[str, ...] = ("openai", "azure", "local")
"""lmms-eval's names of the servers that speak OpenAI's protocol; its asynchronous ones are the same servers."""

NO_ANSWER: tuple[str, ...] = ("timeout", "connection", "rate limit", "server error")
"""Kinds of failures without any answer."""

_LARGEST = 2_000_000  # bytes of an answer, enough for 100,000 tokens of thinking

VARIABLES: dict[str, tuple[str, ...]] = {
    "openai": ("OPENAI_API_URL", "OPENAI_API_KEY"),
    "azure": ("AZURE_ENDPOINT", "API_VERSION", "AZURE_API_KEY"),
    "local": ("LLM_JUDGE_URL",),
}

ADVICE: dict[str, str] = {
    "openai": "Set OPENAI_API_KEY, and for another server than OpenAI's OPENAI_API_URL (it ends in /v1).",
    "azure": "Set AZURE_API_KEY, AZURE_ENDPOINT and API_VERSION; the model is the name of the deployment.",
    "local": "Set LLM_JUDGE_URL to the whole address, such as http://localhost:8000/v1/chat/completions.",
}


def _target(provider: str, model: str) -> tuple[str, str, str]:
    """Address, header name and key from lmms-eval's variables; without a key the header name is empty."""
    given = {name: os.environ.get(name, "").strip() for names in VARIABLES.values() for name in names}
    if provider == "local":
        return given["LLM_JUDGE_URL"] or "http://localhost:8000/v1/chat/completions", "", ""
    if provider == "azure":
        place = f"{given['AZURE_ENDPOINT'].rstrip('/')}/openai/deployments/{quote(model, safe='')}"
        version = quote(given["API_VERSION"] or "2024-02-15-preview", safe="")
        return f"{place}/chat/completions?api-version={version}", "api-key", given["AZURE_API_KEY"]
    place = given["OPENAI_API_URL"] or "https://api.openai.com/v1"
    return f"{place.rstrip('/')}/chat/completions", "Authorization", given["OPENAI_API_KEY"]


@dataclass(frozen=True)
class Text:
    """The answer to one request, with its prompt and answer tokens."""

    text: str
    tokens: tuple[int, int] | None


@dataclass(frozen=True)
class Failure:
    """One request without a usable answer."""

    reason: Unscored
    again: bool  # whether a repetition may succeed
    wait: float | None = None  # s before the repetition, if known
    fatal: bool = False  # for every request, not only for this one
    refuses: frozenset[str] = frozenset()  # parameters that the model does not accept
    tokens: tuple[int, int] | None = None


class Endpoint:
    """Address and key of a server; safe for many threads. `provider` and `model` are those of `JudgeSettings`.

    Raises:
        JudgeError: the environment has no usable key or address.
    """

    def __init__(self, provider: str, model: str) -> None:
        import dotenv
        import httpx

        dotenv.load_dotenv(Path(".env"))  # as lmms-eval does before it opens a judge
        self._url, header, key = _target(provider, model)
        self._name, self._model = model, {} if provider == "azure" else {"model": model}
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        try:
            address = httpx.URL(self._url)
            there = address.scheme in ("http", "https") and address.host
        except (httpx.InvalidURL, ValueError):
            there = ""
        fault = None if there else f"no address: {_line(self._url)!r}"
        if header:
            if not (key and key.isascii() and key.isprintable()):
                fault = "its key has characters that are not allowed in a header" if key else "it has no key"
            self._headers[header] = f"Bearer {key}" if header == "Authorization" else key
        if fault:
            raise JudgeError(f"the judge {provider}:{model} cannot be used: {fault}. {ADVICE[provider]}")
        self._tls = httpx.create_ssl_context()
        for name in ("httpx", "httpcore"):  # they log addresses and headers
            logging.getLogger(name).setLevel(logging.WARNING)

    def ask(
        self, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, Any], timeout: float
    ) -> Text | Failure:
        """Send exactly one request; `timeout` is in s from sending to the last byte.

        Never raises for the behaviour of the server or the network.
        """
        body = json.dumps({**self._model, "messages": list(messages), **parameters}).encode()
        found: queue.SimpleQueue[Text | Failure] = queue.SimpleQueue()
        # In its own thread: the caller's may run an event loop, and a DNS lookup cannot be cancelled.
        send = self._send(body, timeout, found)
        threading.Thread(target=asyncio.run, args=(send,), name="mellm-judge", daemon=True).start()
        try:
            answer = found.get(timeout=timeout + 2)
        except queue.Empty:
            return _late(timeout)
        # Reported to lmms-eval as its own providers do, for its results and its budget.
        count = getattr(sys.modules.get("lmms_eval.models.model_utils.usage_metrics"), "log_usage", None)
        if answer.tokens is not None and count is not None:
            count(model_name=self._name, input_tokens=answer.tokens[0], output_tokens=answer.tokens[1], source="judge")
        return answer

    async def _send(self, body: bytes, seconds: float, found: queue.SimpleQueue[Text | Failure]) -> None:
        import httpx

        async def exchange() -> Text | Failure:
            waits = httpx.Timeout(None, connect=0.9 * min(seconds, 30))
            async with (
                httpx.AsyncClient(verify=self._tls, timeout=waits, follow_redirects=False) as client,
                client.stream("POST", self._url, content=body, headers=self._headers) as response,
            ):
                content = bytearray()
                async for part in response.aiter_raw():
                    content += part
                    if len(content) > _LARGEST:
                        break
                return _read(response.status_code, response.headers, bytes(content))

        try:
            found.put(await asyncio.wait_for(exchange(), seconds))
        except asyncio.TimeoutError:  # not the built-in TimeoutError in Python 3.10
            found.put(_late(seconds))
        except Exception as error:  # httpx and its dependencies raise many types
            found.put(_broken(error))


# ---- the meaning of an answer or an error ---------------------------------------------------------------------------

_FINISHED: dict[str | None, Unscored] = {
    "content_filter": Unscored("content filter", "the judge's provider withheld the answer"),
    "length": Unscored("truncated", "the answer reached max_tokens; a model that thinks before it answers needs more"),
}


def _read(status: int, headers: Mapping[str, str], content: bytes) -> Text | Failure:
    """The meaning of a complete response."""
    if 300 <= status < 400:
        to = f"{status}, a redirect to {headers.get('location')}: redirects are not followed"
        return Failure(Unscored("refused", _line(to)), again=False, fatal=True)
    text = content.decode("utf-8-sig", "replace")
    try:
        raw = json.loads(text) if len(content) <= _LARGEST else None
    except (ValueError, RecursionError):
        raw = None
    found = raw if isinstance(raw, dict) else {}
    if status >= 400 or (found.get("error") and not found.get("choices")):
        return _refusal(status, found.get("error"), headers, text)
    if len(content) > _LARGEST:
        return Failure(Unscored("too long", f"the server's answer has more than {_LARGEST} bytes"), again=False)
    if raw is None:
        return Failure(Unscored("not JSON", f"the server's answer is not JSON: {_line(text)}"), again=True, wait=0)
    tokens = _tokens(found.get("usage"))
    choices = found.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        detail = f"the server's answer has no choice: {_line(text)}"
        return Failure(Unscored("empty choices", detail), again=True, wait=0, tokens=tokens)
    finish, message = choice.get("finish_reason"), choice.get("message")
    if isinstance(finish, str) and finish in _FINISHED:
        return Failure(_FINISHED[finish], again=False, tokens=tokens)
    words = message.get("content") if isinstance(message, dict) else None
    if isinstance(words, list):  # in parts, some of which may be thoughts
        words = in_words(words)
    if isinstance(words, str) and words.strip():
        return Text(redacted(words), tokens)
    return Failure(Unscored("no text", "the server's answer has no text"), again=True, wait=0, tokens=tokens)


def _tokens(used: Any) -> tuple[int, int] | None:
    match used:
        case {"prompt_tokens": int(prompt), "completion_tokens": int(answer)} if max(prompt, answer) < 1e9:
            return (prompt, answer) if min(prompt, answer) >= 0 else None
    return None


def _refusal(status: int, error: Any, headers: Mapping[str, str], text: str) -> Failure:
    """The meaning of an error; some servers send it with status 200."""
    said = _line(f"{status} {text}" if status >= 400 else f"status {status}, but an error: {text}")
    if status < 400:
        code = str(error.get("code", "")) if isinstance(error, dict) else ""
        status = int(code) if re.fullmatch("[45][0-9][0-9]", code) else 500
    if "content_filter" in text:  # Azure refuses a prompt like this
        return Failure(_FINISHED["content_filter"], again=False)
    if status == 429:
        if "insufficient_quota" in text:  # no waiting helps
            return Failure(Unscored("rate limit", said), again=False, fatal=True)
        return Failure(Unscored("rate limit", said), again=True, wait=_retry_after(headers))
    refuses = _refused(text) if status not in (401, 403) else frozenset()
    if status >= 500 or status in (408, 409, 425):
        return Failure(Unscored("server error", said), again=True, wait=_retry_after(headers), refuses=refuses)
    return Failure(Unscored("refused", said), again=False, fatal=True, refuses=refuses)


# What OpenAI, Azure, LiteLLM, OpenRouter, vLLM, LM Studio, Mistral and Moonshot write about a parameter that they do
# not accept, and about an accepted limit that is too high.
_UNKNOWN = re.compile(
    r"n[o']t (?:an? |be )?(?:support|allow|permit|recogni|accept|valid|available|known)|unsupported|unrecogni[sz]ed"
    r"|unknown|unexpected|extra|additional|deprecated|instead|invalid|forbidden|\bonly\b|(?:must|should) be"
    r"|不支持|未知|无效"
)
_TOO_HIGH = re.compile(
    r"too (?:large|long|many|high|big)|at (?:most|least)|maximum|exceed|(?:less|greater|larger) than"
)
_PARAMETER = r"(max_tokens|max_completion_tokens|temperature|response_format)(?![a-z_])"


def _refused(text: str) -> frozenset[str]:
    """Parameters that the model does not accept according to an error."""
    text = text.lower()
    if not _UNKNOWN.search(text):
        return frozenset()
    # First by the server's own field: the text may repeat the whole request.
    named = re.findall(rf"\bparam[\\\"']*\s*:\s*[\\\"']*{_PARAMETER}", text)
    named = named or re.findall(rf"(?<![a-z_]){_PARAMETER}", text)
    return frozenset(name for name in named if not (name.startswith("max_") and _TOO_HIGH.search(text)))


def _late(seconds: float) -> Failure:
    return Failure(Unscored("timeout", f"no answer in {seconds:g} s"), again=True)


def _broken(error: Exception) -> Failure:
    """The failure of a request without a complete answer."""
    import httpx

    said = _line(f"{type(error).__name__}: {error}")
    kind = "timeout" if isinstance(error, httpx.TimeoutException) else "connection"
    # ConnectError: no listener, unknown name, untrusted certificate. The other two: this cannot be a request at all.
    valid = not isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)
    fatal = not valid or isinstance(error, httpx.ConnectTimeout | httpx.ConnectError)
    return Failure(Unscored(kind, said), again=valid, fatal=fatal)


def _line(text: str) -> str:
    """One short line, redacted before it is cut: a partial key would not be recognised."""
    return " ".join(redacted(text).split())[:300]


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait; None if the header is absent or invalid."""
    said = (headers.get("retry-after") or "").strip()
    if re.fullmatch(r"[0-9]+(?:\.[0-9]*)?", said):
        return min(float(said), 1e9)
    try:
        then = email.utils.parsedate_to_datetime(said)
        seconds = then.replace(tzinfo=then.tzinfo or timezone.utc).timestamp() - time.time()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return max(0.0, seconds)
