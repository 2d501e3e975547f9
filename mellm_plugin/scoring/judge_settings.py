"""The settings in MELLM_JUDGE: which judge to ask, and how.

MELLM_JUDGE=openai:gpt-4o-mini,timeout=30  ->  JudgeSettings("openai", "gpt-4o-mini", timeout=30.0)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mellm_plugin.errors import SettingsError, near
from mellm_plugin.redaction import redacted
from mellm_plugin.scoring.endpoint import PROVIDERS

_RANGES: dict[str, tuple[type, float, float]] = {
    "timeout": (float, 0.1, 3600),
    "requests": (int, 1, 10),
    "concurrency": (int, 1, 64),
    "max_tokens": (int, 64, 100_000),
    "backoff": (float, 0, 60),
    "temperature": (float, 0, 2),
    "max_completion_tokens": (int, 64, 100_000),
}


@dataclass(frozen=True)
class JudgeSettings:
    """Which judge to ask, and how.

    Attributes:
        provider: one of `PROVIDERS`.
        model: the provider's name of the model; for `azure` the deployment.
        timeout: most seconds for one request, from sending to the last byte.
        requests: most requests for one text.
        concurrency: most requests under way at once.
        max_tokens: most tokens of an answer; models that think first need more.
        backoff: seconds before the second request; doubles each time, shortened at random by up to a half.
        temperature: None: not sent.
        max_completion_tokens: replaces `max_tokens` for models that know only this name.
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
        """The settings in `MELLM_JUDGE`: `PROVIDER:MODEL[,NAME=VALUE..]`.

        Raises:
            SettingsError: unusable settings; all faults at once.
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
            try:
                values[name] = None if name == "temperature" and value.lower() == "none" else kind(value)
            except ValueError:
                faults.append(f"{name}: expected {'a whole number' if kind is int else 'a number'}, found {value!r}")
                continue
            if values[name] is not None and not least <= values[name] <= most:
                faults.append(f"{name}: expected {least} to {most}, found {value}")
        if {"max_tokens", "max_completion_tokens"} <= values.keys():
            faults.append("expected max_tokens or max_completion_tokens, found both")
        if faults:
            raise SettingsError([redacted(fault) for fault in faults], where="MELLM_JUDGE")
        return JudgeSettings(provider, model.strip(), **values)

    def parameters(self, refused: frozenset[str]) -> dict[str, Any]:
        """Parameters of a request, without those that the model refuses."""
        names = ("max_tokens", "max_completion_tokens")[:: -1 if self.max_completion_tokens else 1]
        known = [name for name in names if name not in refused][:1]
        found: dict[str, Any] = dict.fromkeys(known, self.max_completion_tokens or self.max_tokens)
        if self.temperature is not None:
            found["temperature"] = self.temperature
        if self.provider != "local":  # as lmms-eval does
            found["response_format"] = {"type": "json_object"}
        return {name: value for name, value in found.items() if name not in refused}
