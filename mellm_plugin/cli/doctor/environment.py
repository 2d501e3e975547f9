"""Checks of the environment: the judge, misleading variables, the shell.

ok     judge        openai:gpt-4o-mini, OPENAI_API_KEY is set; mellm doctor --judge sends it one request
fault  environment  LMMS_EVAL_PLUGINS=..: lmms-eval adds tasks of such plugins too late    -> unset LMMS_EVAL_PLUGINS
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mellm_plugin.cli.doctor.findings import Finding, fault, note, ok
from mellm_plugin.errors import JudgeError, SettingsError

_NEEDED = {
    "openai": ("OPENAI_API_KEY",),
    "azure": ("AZURE_API_KEY", "AZURE_ENDPOINT", "API_VERSION"),
    "local": ("LLM_JUDGE_URL",),
}
_JUDGE_VARIABLE = re.compile(r"\s*(?:export\s+)?((?:OPENAI|AZURE|LLM_JUDGE|MELLM|API_)\w*)\s*=")
_RUN_IDS = ("LMMS_CACHE_RUN_ID", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID")
_STARTUP_FILES = {
    "bash": (".bashrc", ".bash_profile", ".profile"),
    "zsh": (".zshrc", ".zshenv"),
    "fish": (".config/fish/config.fish",),
}


def judge(ask: bool) -> Iterator[Finding]:
    """The judge that grades descriptions.

    Args:
        ask: whether to send it a request.
    """
    name = os.environ.get("MELLM_JUDGE", "").strip()
    if not name:
        yield note("none is set, so there is no description_score", "export MELLM_JUDGE=openai:gpt-4o-mini")
        return
    from mellm_plugin.scoring.judge import JudgeSettings, configured

    try:
        needed = _NEEDED[JudgeSettings.parse(name).provider]
        env, from_file = os.environ, _dotenv()
        # ./.env does not override a variable that is set, even to an empty text
        if absent := [one for one in needed if not env.get(one) and (one in env or one not in from_file)]:
            do = " ".join(f"{one}=.." for one in absent)
            yield fault(f"{name} needs {', '.join(absent)}, which is not set", f"export {do}")
        elif not ask:
            yield ok(f"{name}, {needed[0]} is set; mellm doctor --judge sends it one request")
        elif (found := configured()) is not None:
            found.probe()
            yield ok(f"{name} answers; to check whether it can be trusted: mellm judge-check")
    except (SettingsError, JudgeError) as error:
        yield fault(str(error), "see docs/judge.md; without a judge: unset MELLM_JUDGE")


def _dotenv() -> list[str]:
    """The names of the judge's variables in ./.env, which the judge reads when it is opened."""
    try:
        text = Path(".env").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [found[1] for line in text.splitlines() if (found := _JUDGE_VARIABLE.match(line))]


def variables() -> Iterator[Finding]:
    """Variables with effects that users may not expect."""
    env = os.environ
    misleading = list(_misleading())
    yield from misleading
    if env.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        yield note("HF_HUB_OFFLINE is set: models must be on disk already", "unset HF_HUB_OFFLINE")
    run = next((name for name in _RUN_IDS if env.get(name)), None)
    if run is None:
        yield ok("to resume interrupted runs: start with --use_cache DIR and LMMS_CACHE_RUN_ID, the same both times")
    else:
        yield note(
            f"{run}={env[run]}: with --use_cache a run reuses the answers of the last one of this name; the cache "
            "knows only model_args, so use another folder for other weights under the same name"
        )
    if not any(one.state == "fault" for one in misleading):
        yield ok("no variable is set that misleads lmms-eval")


def _misleading() -> Iterator[Finding]:
    env = os.environ
    provider = env.get("MELLM_JUDGE", "").partition(":")[0]

    def for_judge(by: str, text: str, do: str) -> Finding:
        """A fault if the configured judge uses the variable, otherwise a note."""
        return fault(text, do) if provider == by else note(text, do)

    if plugins := env.get("LMMS_EVAL_PLUGINS"):
        yield fault(
            f"LMMS_EVAL_PLUGINS={plugins}: lmms-eval adds tasks of such plugins too late",
            "unset LMMS_EVAL_PLUGINS; this package needs none, and --include_path finds other tasks",
        )
    if env.get("OPENAI_BASE_URL") and not env.get("OPENAI_API_URL"):
        yield for_judge(
            "openai",
            "lmms-eval's judge does not read OPENAI_BASE_URL: requests would go to OpenAI",
            'export OPENAI_API_URL="$OPENAI_BASE_URL"',
        )
    url = env.get("OPENAI_API_URL", "")
    if url and not url.rstrip("/").endswith("/v1"):
        text = f"OPENAI_API_URL={url}: expected an address that ends in /v1"
        yield for_judge("openai", text, "export OPENAI_API_URL=..")
    url = env.get("LLM_JUDGE_URL", "")
    if url and not url.rstrip("/").endswith("/chat/completions"):
        yield for_judge(
            "local",
            f"LLM_JUDGE_URL={url}: expected the whole address, which ends in /chat/completions",
            f"export LLM_JUDGE_URL={url.rstrip('/').removesuffix('/v1')}/v1/chat/completions",
        )
    if env.get("MODEL_VERSION"):
        yield note("MODEL_VERSION is not read: MELLM_JUDGE names the judge", "unset MODEL_VERSION")
    if names := _dotenv():
        yield note(f"a judge reads {Path('.env').absolute()}, which sets {', '.join(names)}")


def shell() -> Iterator[Finding]:
    """Whether the shell completes `mellm`, according to its start-up file."""
    name = Path(os.environ.get("SHELL", "")).name
    if name not in _STARTUP_FILES:
        yield note("completion: mellm --print-completion bash (or zsh, fish, tcsh)")
        return
    for file in _STARTUP_FILES[name]:
        try:
            text = (Path.home() / file).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        if "--print-completion" in text:
            yield ok(f"{name} completes mellm, by ~/{file}")
            return
    script = f"mellm --print-completion {name}"
    line = f"{script} | source" if name == "fish" else f'eval "$({script})"'
    yield note(f"{name} does not complete mellm yet", f"echo '{line}' >> ~/{_STARTUP_FILES[name][0]}")
