"""lmms-eval's evaluation ends with our own errors, names its packages, and takes no failed request for an answer."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mellm_plugin.lmms_eval_changes.endings import frame_of_command, instead_of, leave, our_error, with_causes
from mellm_plugin.lmms_eval_changes.table import extend_table
from mellm_plugin.plugin import in_one_line, warn

_FAILED = ("[LMMS_EVAL_", "[MELLM_")
"""How a text in place of an answer begins: lmms-eval's for a failed request or a spent budget, ours for images that
cannot be used."""


def extend_evaluation() -> None:
    """Extend `lmms_eval.evaluator` and the response cache, where they are imported; a second call changes nothing."""
    evaluator: Any = sys.modules.get("lmms_eval.evaluator")
    if not hasattr(evaluator, "simple_evaluate"):
        return
    try:
        instead_of(evaluator, "simple_evaluate")(_ending)
        cache = sys.modules["lmms_eval.caching.response_cache"].ResponseCache
        instead_of(cache, "_lookup")(_lookup)
        instead_of(cache, "_is_valid_response")(_is_valid_response)
        if hasattr(evaluator, "unwrap_generation_output"):
            instead_of(evaluator, "unwrap_generation_output")(_unwrap)
    except Exception as error:
        warn("cache", f"with --use_cache this lmms-eval keeps failed requests as answers: {in_one_line(error)}.")
    extend_table()


def _ending(plain: Any, *args: Any, **kwargs: Any) -> Any:
    """An error of ours that ends an evaluation also ends the command, or is raised in Python."""
    try:
        return _with_packages(plain(*args, **kwargs))
    except Exception as error:
        ours = our_error(error)
        if frame_of_command() is None or os.environ.get("VERBOSITY") == "DEBUG":  # there lmms-eval raises it, too
            if ours is None or ours is error:
                raise
            raise ours from error
        within = next((one for one in with_causes(error) if _is_within_ours(one)), None)
        if ours is None and within is None:
            raise
        problem = error
    if ours is None:
        sys.stdout.flush()
        traceback.print_exception(problem)
    leave(str(ours) if ours is not None else in_one_line(within or problem))


def _is_within_ours(error: Exception) -> bool:
    """Whether code of this package raised it, or code that it called: a full disk, a card without memory."""
    at = error.__traceback__
    while at is not None:
        module = str(at.tb_frame.f_globals.get("__name__"))
        if module.startswith("mellm_plugin.") and not module.startswith(str(__package__)):
            return True
        at = at.tb_next
    return False


def _with_packages(results: Any) -> Any:
    """The results of an evaluation (None in all processes but the first), with the versions of the packages.

    What lmms-eval says itself is the commit of whatever repository its environment lies in.
    """
    if isinstance(results, dict):
        found: dict[str, str] = {}
        for name in ("lmms_eval", "mellm_plugin"):
            with suppress(PackageNotFoundError):  # it runs from a folder that is not installed
                found[name] = version(name)
        clone = Path(str(sys.modules["lmms_eval"].__file__)).parents[1] / ".git"
        if clone.exists() and results.get("git_hash") and "lmms_eval" in found:
            found["lmms_eval"] += f"+{results['git_hash']}"  # lmms-eval's own repository
        results["packages"] = found
    return results


def _unwrap(plain: Any, output: Any) -> Any:
    """Turn a message that a server sent in parts into text; lmms-eval ends the run at the first one."""
    text = getattr(output, "text", "")
    rounds = isinstance(text, list) and bool(text) and all(isinstance(one, str) for one in text)
    if isinstance(text, str) and text.startswith(_FAILED):
        from mellm_plugin.redaction import redacted

        return redacted(text), plain(output)[1]  # some servers send the key back
    if rounds or isinstance(text, str | None):
        return plain(output)
    from mellm_plugin.language.unanswered import in_words

    return in_words(text), plain(output)[1]


def _lookup(plain: Any, *args: Any, **kwargs: Any) -> Any:
    """Have a failed request asked again; lmms-eval keeps its failure as the answer."""
    found = plain(*args, **kwargs)
    return None if _has_failed(found) else found


def _is_valid_response(plain: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
    if not isinstance(getattr(response, "text", ""), str):
        return False  # a message in parts, with which lmms-eval ends the run
    return plain(response, *args, **kwargs) and not _has_failed(response)


def _has_failed(response: Any) -> bool:
    return str(getattr(response, "text", response)).startswith(_FAILED)
