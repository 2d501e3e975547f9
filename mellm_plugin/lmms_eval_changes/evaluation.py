"""lmms-eval's evaluation ends with our own errors, names its packages, and takes no failed request for an answer."""

from __future__ import annotations

import functools
import os
import sys
import traceback
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mellm_plugin.lmms_eval_changes.endings import frame_of_command, leave, our_error, with_causes
from mellm_plugin.lmms_eval_changes.table import extend_table
from mellm_plugin.plugin import in_one_line, warn

_FAILED = ("[LMMS_EVAL_", "[MELLM_")
"""How a text in place of an answer begins: lmms-eval's for a failed request or a spent budget, ours for images that
cannot be used."""


def extend_evaluation() -> None:
    """Extend `lmms_eval.evaluator` and the response cache, where they are imported; a second call changes nothing."""
    evaluator: Any = sys.modules.get("lmms_eval.evaluator")
    if not hasattr(evaluator, "simple_evaluate") or hasattr(evaluator.simple_evaluate, "ends_with_mellm"):
        return
    try:
        evaluator.simple_evaluate = _ending(evaluator.simple_evaluate)
        _extend_cache(sys.modules["lmms_eval.caching.response_cache"])
        _extend_answers(evaluator)
    except Exception as error:
        warn("cache", f"with --use_cache this lmms-eval keeps failed requests as answers: {in_one_line(error)}.")
    extend_table()


def _ending(plain: Any) -> Any:
    """The function; where an error of ours ends it, that error also ends the command, or is raised in Python."""

    @functools.wraps(plain)
    def run(*args: Any, **kwargs: Any) -> Any:
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

    run.ends_with_mellm = True  # type: ignore[attr-defined]
    return run


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
            try:
                found[name] = version(name)
            except PackageNotFoundError:
                continue  # it runs from a folder that is not installed
        clone = Path(str(sys.modules["lmms_eval"].__file__)).parents[1] / ".git"
        if clone.exists() and results.get("git_hash") and "lmms_eval" in found:
            found["lmms_eval"] += f"+{results['git_hash']}"  # lmms-eval's own repository
        results["packages"] = found
    return results


def _extend_answers(evaluator: Any) -> None:
    """Turn a message that a server sent in parts into text; lmms-eval ends the run at the first one."""
    plain: Callable[[Any], Any] | None = getattr(evaluator, "unwrap_generation_output", None)
    if plain is None:
        return

    @functools.wraps(plain)
    def unwrap(output: Any) -> Any:
        text = getattr(output, "text", "")
        rounds = isinstance(text, list) and bool(text) and all(isinstance(one, str) for one in text)
        if isinstance(text, str) and text.startswith(_FAILED):
            from mellm_plugin.redaction import redacted

            return redacted(text), plain(output)[1]  # some servers send the key back
        if rounds or isinstance(text, str | None):
            return plain(output)
        from mellm_plugin.language.unanswered import in_words

        _, tokens = plain(output)
        return in_words(text), tokens

    evaluator.unwrap_generation_output = unwrap


def _extend_cache(module: Any) -> None:
    """Have a failed request asked again; lmms-eval keeps its failure as the answer."""
    cache: Any = module.ResponseCache
    if hasattr(cache._lookup, "ends_with_mellm"):
        return
    plain_lookup, plain_valid = cache._lookup, cache._is_valid_response

    def failed(response: Any) -> bool:
        return str(getattr(response, "text", response)).startswith(_FAILED)

    @functools.wraps(plain_lookup)
    def lookup(self: Any, *args: Any, **kwargs: Any) -> Any:
        found = plain_lookup(self, *args, **kwargs)
        return None if failed(found) else found

    @functools.wraps(plain_valid)
    def is_valid_response(response: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(getattr(response, "text", ""), str):
            return False  # a message in parts, with which lmms-eval ends the run
        return plain_valid(response, *args, **kwargs) and not failed(response)

    lookup.ends_with_mellm = True  # type: ignore[attr-defined]
    cache._lookup, cache._is_valid_response = lookup, staticmethod(is_valid_response)
