"""Checks of the environment: the judge, variables that do not do what they seem to do, the shell.

ok     judge        openai:gpt-4o-mini, with a key; mellm doctor --judge asks it
fault  environment  LMMS_EVAL_PLUGINS does not bring lmms-eval our tasks ..    -> unset LMMS_EVAL_PLUGINS
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
_OF_JUDGES = re.compile(r"\s*(?:export\s+)?((?:OPENAI|AZURE|LLM_JUDGE|MELLM|API_)\w*)\s*=")


def judge(asked: bool) -> Iterator[Finding]:
    """The judge that grades descriptions.

    Args:
        asked: whether to send it a request.
    """
    set_to = os.environ.get("MELLM_JUDGE", "").strip()
    if not set_to:
        yield note("judge", "none is set, so there is no description_score", "export MELLM_JUDGE=openai:gpt-4o-mini")
        return
    from mellm_plugin.scoring.judge import configured
    from mellm_plugin.scoring.judge_settings import JudgeSettings

    try:
        settings = JudgeSettings.parse(set_to)
    except SettingsError as error:
        yield fault("judge", str(error), "see docs/judge.md; without a judge: unset MELLM_JUDGE")
        return
    env, beside = os.environ, _dotenv()
    needed = _NEEDED[settings.provider]
    # of a variable that is set, to nothing too, ./.env changes nothing
    if absent := [name for name in needed if not env.get(name) and (name in env or name not in beside)]:
        do = " ".join(f"{name}=.." for name in absent)
        yield fault("judge", f"{set_to} needs {', '.join(absent)}, which is not set", f"export {do}")
        return
    if not asked:
        yield ok("judge", f"{set_to}, {needed[0]} is set; mellm doctor --judge asks it, by one request")
        return
    try:
        found = configured()
        assert found is not None, "MELLM_JUDGE is set"
        found.probe()
    except (SettingsError, JudgeError) as error:
        yield fault("judge", str(error), "see docs/judge.md; without a judge: unset MELLM_JUDGE")
    else:
        yield ok("judge", f"{set_to} answers; whether to trust it: mellm judge-check")


def _dotenv() -> list[str]:
    """The variables for judges in ./.env, which are read when a judge is opened."""
    try:
        text = Path(".env").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return [found[1] for line in text.splitlines() if (found := _OF_JUDGES.match(line))]


def variables() -> Iterator[Finding]:
    """Variables of the environment that surprise."""
    env = os.environ
    found = list(_traps())
    yield from found
    if env.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        yield note("environment", "HF_HUB_OFFLINE is set: models must be on disk already", "unset HF_HUB_OFFLINE")
    run = next((name for name in ("LMMS_CACHE_RUN_ID", "SLURM_JOB_ID", "TORCHELASTIC_RUN_ID") if env.get(name)), None)
    if run is None:
        yield ok(
            "environment", "a run that is cut off can go on: --use_cache DIR and LMMS_CACHE_RUN_ID, both times alike"
        )
    else:
        yield note(
            "environment",
            f"{run}={env[run]}: with --use_cache a run takes up the answers of the last one of this name; they are "
            "known by model_args alone, so for other weights under the same name give another folder",
        )
    if not any(one.state == "fault" for one in found):
        yield ok("environment", "no variable is set that lmms-eval takes otherwise than it seems")


def _traps() -> Iterator[Finding]:
    env = os.environ
    if env.get("LMMS_EVAL_PLUGINS"):
        yield fault(
            "environment",
            f"LMMS_EVAL_PLUGINS={env['LMMS_EVAL_PLUGINS']}: lmms-eval adds tasks of such plugins too late",
            "unset LMMS_EVAL_PLUGINS; this package needs none, and other tasks are found by --include_path",
        )
    if env.get("OPENAI_BASE_URL") and not env.get("OPENAI_API_URL"):
        say = fault if env.get("MELLM_JUDGE", "").startswith("openai") else note
        yield say(
            "environment",
            "OPENAI_BASE_URL is not read by lmms-eval's judge: requests would go to OpenAI",
            'export OPENAI_API_URL="$OPENAI_BASE_URL"',
        )
    url = env.get("OPENAI_API_URL", "")
    if url and not url.rstrip("/").endswith("/v1"):
        say = fault if env.get("MELLM_JUDGE", "").startswith("openai") else note
        yield say(
            "environment", f"OPENAI_API_URL={url}: expected an address that ends in /v1", "export OPENAI_API_URL=.."
        )
    address = env.get("LLM_JUDGE_URL", "")
    if address and not address.rstrip("/").endswith("/chat/completions"):
        say = fault if env.get("MELLM_JUDGE", "").startswith("local") else note
        yield say(
            "environment",
            f"LLM_JUDGE_URL={address}: expected the whole address, which ends in /chat/completions",
            f"export LLM_JUDGE_URL={address.rstrip('/').removesuffix('/v1')}/v1/chat/completions",
        )
    if env.get("MODEL_VERSION"):
        yield note("environment", "MODEL_VERSION is not read: MELLM_JUDGE names the judge", "unset MODEL_VERSION")
    if names := _dotenv():
        yield note(
            "environment", f"{Path('.env').absolute()} is read when a judge is opened; it sets {', '.join(names)}"
        )


def completion() -> Iterator[Finding]:
    """Whether the shell completes `mellm`; only its start-up file tells."""
    shell = Path(os.environ.get("SHELL", "")).name
    places = {
        "bash": (".bashrc", ".bash_profile", ".profile"),
        "zsh": (".zshrc", ".zshenv"),
        "fish": (".config/fish/config.fish",),
    }
    if shell not in places:
        yield note("shell", "completion: mellm --print-completion bash (or zsh, fish, tcsh)")
        return
    for name in places[shell]:
        try:
            if "--print-completion" in (Path.home() / name).read_text(encoding="utf-8", errors="replace"):
                yield ok("shell", f"{shell} completes mellm, by ~/{name}")
                return
        except OSError:
            continue
    line = (
        "mellm --print-completion fish | source" if shell == "fish" else f'eval "$(mellm --print-completion {shell})"'
    )
    yield note("shell", f"{shell} does not complete mellm yet", f"echo '{line}' >> ~/{places[shell][0]}")
