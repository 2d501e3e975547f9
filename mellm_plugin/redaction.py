"""Remove keys from what a server says before it is stored or shown: servers echo headers, and proxies addresses.

    redacted("you sent {'authorization': 'Bearer abc123def'}")  ->  "you sent {'authorization': '[redacted]'}"
    redacted("no route to http://me:secret@host/v1")             ->  "no route to http://[redacted]@host/v1"

Known keys are the values of variables whose names end like those of keys (`OPENAI_API_KEY`, `HF_TOKEN`), and the
credentials in addresses that variables hold. They are found verbatim, escaped, in base64 and truncated. Other keys are
found by their form.
"""

from __future__ import annotations

import base64
import html
import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import quote, quote_plus, unquote, unquote_plus

_MARK = "[redacted]"
_SHORTEST = 6  # characters of a key; a shorter value is a placeholder, and common in ordinary text
_NAMED = re.compile(
    "(?i:KEYS?|TOKENS?|SECRETS?|PASS|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|PAT|AUTH|AUTHORIZATION|HEADERS?|COOKIE)"
    r"(?:_?\d+)?\Z"
)
_IN_ADDRESS = re.compile(
    r"://([^\s/?#@]+)@|[?&][^\s=&#]*(?:key|token|secret|sig|auth)[^\s=&#]*=([^\s&#]+)", re.IGNORECASE
)

_KIND = r"(?:api|access|auth|secret|private|subscription|session|refresh|client|master|virtual)"
_FORMS = re.compile(
    "|".join(
        (
            # OpenAI, Anthropic, OpenRouter, LiteLLM, DeepSeek; also keys that OpenAI has masked
            r"(?<![A-Za-z0-9])sk[-_][A-Za-z0-9*._-]{8,}",
            # Hugging Face, GitHub, GitLab, Groq, xAI, NVIDIA, Perplexity, Replicate, Fireworks, Slack, Stripe, PyPI
            r"(?<![A-Za-z0-9])(?:hf|api_org|gh[opsur]|github_pat|gsk|csk|r8|fw|[rp]k_live|tgp_v1)_[A-Za-z0-9_]{16,}",
            r"(?<![A-Za-z0-9])(?:gl[a-z]{1,8}|xai|nvapi|pplx|xox[a-z]|xapp|pypi|dop_v1|lsv2_[a-z]{2}|SG)[-_.][A-Za-z0-9._-]{16,}",
            # AWS, Google
            r"(?<![A-Za-z0-9])(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}|AIza[A-Za-z0-9_-]{30,}|ya29\.[\w-]{16,}",
            # a signed JSON web token
            r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?",
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
            r"(?<=://)[^\s/?#@\"'<>]+(?=@)",
            r"(?i:\bbearer(?:\s|%20|\+|\\u0020)+)(?P<scheme>[^\s\"'<>,;&)\]}\\]{4,})",
            # all of a cookie header
            r"(?i:\b(?:set-)?cookie)[\"'\\]*\s*[:=]\s*[\"'\\]*(?P<cookies>[^\r\n\"'<>\\]{4,})",
            # api-key: .., "x-api-key": "..", access_token=.., Incorrect API key provided: ..
            rf"(?i:\b(?:[a-z0-9]{{1,20}}[-_]){{0,6}}{_KIND}[-_ ]?(?:key|token|secret)\b"
            r"|\b(?:proxy-)?authorization\b|\b(?:password|passwd|x-[a-z-]*(?:token|key))\b|(?<=[?&])(?:key|token|sig|signature)(?==))"
            r"(?:\s+(?:provided|is|was|sent|used|header|value))*[\"'\\]*\s*(?:[:=]|=>|%3[AaDd])+\s*[\"'\\]*"
            r"(?P<value>(?i:(?:bearer|basic|token|digest|key)\s+)?[^\s\"'<>,;&)\]}\\]{4,})",
            r"\b[Bb]asic\s+(?=[A-Za-z+/]*[0-9=])[A-Za-z0-9+/]{6,}={0,2}",  # not: basic emotions
            # any long run of letters and digits, which most other keys contain
            r"(?<![A-Za-z0-9])(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]{20,}",
        )
    ),
    re.DOTALL,
)


def redacted(text: str) -> str:
    """The text without keys and without characters that cannot be encoded. Call it before shortening a text.

    The time is linear in its length.
    """
    return _FORMS.sub(_hidden, without_keys(text))


def without_keys(text: str) -> str:
    """The text without known keys; unlike `redacted`, it keeps text that only looks like a key."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    if keys := _keys():
        text = _written(keys).sub(_MARK, text)
    for key in keys:
        for whole in (key, *_in_base64(key.encode("utf-8", "surrogateescape"))):
            text = _without_parts(text, whole)
    return text


def _hidden(found: re.Match[str]) -> str:
    for group in ("scheme", "cookies", "value"):
        if found[group] is not None:
            gone = found[group].startswith(_MARK[:-1])  # these forms do not match the closing bracket
            return found[0] if gone else found[0][: found.start(group) - found.start()] + _MARK
    return _MARK


def _keys() -> tuple[str, ...]:
    """The keys in the environment, the longest first."""
    keys: set[str] = set()
    for name, value in os.environ.items():
        if _NAMED.search(name):
            keys |= {value, *value.split()}  # also the parts of a header with its scheme
        for pair in _IN_ADDRESS.findall(value):
            for part in filter(None, pair):
                password = part.partition(":")[2]
                keys |= {part, unquote(part), unquote_plus(part), password, unquote(password)}
    kept = {key.strip() for key in keys}
    return tuple(sorted((key for key in kept if len(key) >= _SHORTEST), key=lambda key: (-len(key), key)))


@lru_cache(maxsize=2)
def _written(keys: tuple[str, ...]) -> re.Pattern[str]:
    """Matches the keys in every encoding that a server may use, in any case; the longest first."""
    found: set[str] = set()
    for key in keys:
        escaped = json.dumps(key)[1:-1]
        found |= {key, escaped, escaped.replace("/", "\\/"), json.dumps(escaped)[1:-1]}
        found |= {html.escape(key), repr(key)[1:-1]}
        found |= {"".join(f"\\u{ord(c):04x}" for c in key), "".join(f"\\u{ord(c):04X}" for c in key)}
        for quoted in (quote(key), quote(key, safe=""), quote_plus(key)):
            found |= {quoted, re.sub("%..", lambda code: code[0].lower(), quoted), quote(quoted, safe="")}
        data = key.encode("utf-8", "surrogateescape")
        found |= {data.hex(), data.hex().upper(), key[::-1], *_in_base64(data)}
    longest_first = sorted((text for text in found if len(text) >= _SHORTEST), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)


def _in_base64(data: bytes) -> Iterator[str]:
    """The base64 of a key at each of the three alignments within a longer text."""
    for before in range(3):
        whole = base64.b64encode(bytes(before) + data).decode().rstrip("=")
        # without the characters that also encode bits of the text before or after
        inner = whole[(0, 2, 3)[before] : (before + len(data)) * 8 // 6]
        if len(inner) >= 2 * _SHORTEST:
            yield from (inner, inner.replace("+", "-").replace("/", "_"))


def _without_parts(text: str, key: str) -> str:
    """The text without truncated keys of which at least half is left."""
    least = max(8, (len(key) + 1) // 2)
    if len(key) < least or key[:least] not in text:
        return text
    rest = key[least:]
    first, *parts = text.split(key[:least])
    same = [next((n for n, (a, b) in enumerate(zip(part, rest)) if a != b), len(rest)) for part in parts]  # noqa: B905
    return _MARK.join([first, *(part[n:] for part, n in zip(parts, same, strict=True))])
