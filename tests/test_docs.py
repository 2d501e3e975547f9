"""Every command in the documentation is parsed by the real parsers, and run where that is possible.

A command is a line of a fenced or indented block, or of the examples in a help text, that starts with one of our
programs. In a sentence, `mellm ..` may be part of a command: its subcommand and its options must exist.

`ELSEWHERE` lists the commands that are not run here, with the reason; an entry that matches no command fails.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.util
import io
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import fictitious
import numpy as np
import pytest
from PIL import Image
from results_files import Asked, Model, write_run
from user_commands import SOURCE, environment, run

from mellm_plugin.cli import parser
from mellm_plugin.cli.commands import parsers, subcommands
from mellm_plugin.cli.tasks import list_tasks
from mellm_plugin.datasets import synthme
from mellm_plugin.plugin import task_folder
from mellm_plugin.training import config

GUIDES = [SOURCE / "README.md", SOURCE / "CONTRIBUTING.md", *sorted((SOURCE / "docs").glob("*.md"))]
PAGES = [
    *GUIDES,
    *(page for folder in ("mellm_plugin", "tasks") for page in sorted((SOURCE / folder).rglob("README.md"))),
]
OURS = ("mellm", "lmms-eval", "python", "accelerate", "torchrun")
EXAMPLE_TASKS = {"mydata_meu", "my_synthme"}


@dataclass(frozen=True)
class Command:
    """A command in the documentation, without the comment behind it."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


def without_comment(line: str) -> str:
    """A line without the comment behind it: `mellm map a b   # draws`, `mellm loso ..   (two at once)`."""
    line = re.sub(r"\s{2,}\([^()]*\)$", "", line.strip().removeprefix("$ "))
    kept = re.match(r"""(?:[^#'"]|'[^']*'|"[^"]*"|(?<=\S)#)*""", line)
    return (kept[0] if kept else line).strip()


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """The lines of fenced and indented blocks with their numbers; a backslash joins a line with the next one."""
    fenced, before = False, ""
    held, start = "", 0
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            before = ""
            continue
        indented = not fenced and line.startswith("    ") and (not before.strip() or before.startswith("    "))
        if fenced or indented:
            start = start or number
            held += line.strip().removesuffix("\\") + " "
            if not line.endswith("\\"):
                yield start, held.strip()
                held, start = "", 0
        before = line


def programs(line: str) -> Iterator[str]:
    """The commands of a shell line: the parts between `&&`, `|` and `;`, and those inside `$(..)`."""
    line = without_comment(line)
    yield from re.findall(r"\$\(([^()]*)\)", line)
    for part in re.split(r"\s(?:&&|\|\||\||;)\s", re.sub(r"\$\([^()]*\)", "PRINTED", line)):
        yield part.strip()


def words(text: str) -> list[str]:
    """The program and the arguments of a command, without variables before it and without redirected input."""
    found = shlex.split(re.sub(r"\s<\s*\S+", "", text))
    while found and re.fullmatch(r"\w+=.*", found[0]):
        found.pop(0)
    if found:
        found[0] = "python" if Path(found[0]).name in ("python", "python3") else Path(found[0]).name
    return [word for word in found if not re.fullmatch(r"\.{2,3}", word)]


def is_ours(text: str) -> bool:
    try:
        found = words(text)
    except ValueError:  # the block is not shell
        return False
    if not found or found[0] not in OURS or len(found) == 1:
        return False
    return found[0] != "python" or found[1] == "-m" or found[1].endswith(".py")


def shown(pages: list[Path]) -> list[Command]:
    """The commands in the blocks of these pages, each once."""
    found: dict[str, Command] = {}
    for page in pages:
        for number, line in blocks(page.read_text(encoding="utf-8")):
            for text in programs(line):
                if is_ours(text) and words(text)[1:3] != ["-m", "venv"]:
                    found.setdefault(text, Command(f"{page.relative_to(SOURCE)}:{number}", text))
    return list(found.values())


def commands_in_help() -> list[Command]:
    found: list[Command] = []
    for one in parsers(parser()):
        for text in (one.description or "", one.epilog or ""):
            for line in text.split("\n"):
                if line.startswith("  "):
                    found += [Command(f"{one.prog} --help", t) for t in programs(line) if is_ours(t)]
    return found


COMMANDS = shown(PAGES)


# ---- parse ----------------------------------------------------------------------------------------------------------


mellms_parser = lru_cache(maxsize=1)(parser)


@lru_cache(maxsize=1)
def lmms_evals_parser() -> Callable[[], object]:
    """lmms-eval's own function that parses its command line, without the slow imports above it."""
    package = importlib.util.find_spec("lmms_eval")
    assert package is not None and package.submodule_search_locations
    tree = ast.parse(Path(package.submodule_search_locations[0], "__main__.py").read_text(encoding="utf-8"))
    light = ("argparse", "functools", "typing")
    kept = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        or (isinstance(node, ast.Import) and node.names[0].name in light)
        or (isinstance(node, ast.ImportFrom) and node.module in light)
    ]
    space: dict[str, object] = {}
    exec("from __future__ import annotations", space)
    exec(compile(ast.Module(kept, []), "lmms_eval", "exec", dont_inherit=False), space)
    found = space["parse_eval_args"]
    assert callable(found)
    return found


def parse_lmms_eval(arguments: list[str]) -> argparse.Namespace | None:
    if not arguments[0].startswith("-"):
        from lmms_eval.cli.dispatch import _build_parser

        _build_parser().parse_args(arguments)
        return None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lmms-eval", *arguments])
        (_, given) = lmms_evals_parser()()  # type: ignore[misc]
    assert isinstance(given, argparse.Namespace)
    return given


def check_script(file: Path, arguments: list[str]) -> None:
    """Fail where a script of ours does not exist or lacks one of the options."""
    assert file.is_file(), f"no {file}"
    calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    added = [call.args for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"]
    known = {arg.value for args in added for arg in args if isinstance(arg, ast.Constant)}
    asked = {word.partition("=")[0] for word in arguments if word.startswith("-")}
    assert asked <= known, f"{file.name} lacks {', '.join(asked - known)}"


def parse(text: str) -> None:
    """Fail where a command has a wrong program, option, argument or task; nothing is run."""
    program, *arguments = words(text)
    if program in ("accelerate", "torchrun"):
        module = arguments.index("-m")
        program, arguments = arguments[module + 1], arguments[module + 2 :]
    elif program == "python" and arguments[0] == "-m":
        program, arguments = arguments[1], arguments[2:]
    if program in ("mellm", "mellm_plugin.cli"):
        mellms_parser().parse_args(arguments)
    elif program in ("lmms-eval", "lmms_eval"):
        given = parse_lmms_eval(arguments)
        tasks = (given.tasks or "").split(",") if given is not None else []
        assert set(tasks) - {""} <= {*list_tasks(task_folder()), *EXAMPLE_TASKS}, tasks
    elif program == "python":
        check_script(SOURCE / arguments[0], arguments[1:])
    elif program.startswith("mellm_plugin."):
        spec = importlib.util.find_spec(program)
        assert spec is not None and spec.origin is not None
        check_script(Path(spec.origin), arguments)
    else:
        assert program in ("pytest", "pip", "build"), program


@pytest.mark.parametrize("command", [*COMMANDS, *commands_in_help()], ids=str)
def test_a_command_is_valid(command: Command) -> None:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            parse(command.text)
    except SystemExit as ended:
        pytest.fail(f"{command}\n{printed.getvalue()}", pytrace=False) if ended.code else None


INLINE = re.compile(r"`((?:mellm|lmms-eval|python (?:benchmarks|tests|examples)/)[^`\n]* [^`\n]*)`")


def inline_commands() -> list[Command]:
    """Parts of commands in sentences; the log is left out because it describes earlier versions."""
    found: dict[str, Command] = {}
    for page in PAGES:
        if page.name == "log.md":
            continue
        for number, line in enumerate(page.read_text(encoding="utf-8").split("\n"), 1):
            for text in INLINE.findall(line):
                found.setdefault(text, Command(f"{page.relative_to(SOURCE)}:{number}", text))
    return list(found.values())


@lru_cache(maxsize=1)
def help_of_lmms_eval() -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        parse_lmms_eval(["--help"])
    return printed.getvalue()


@pytest.mark.parametrize("command", inline_commands(), ids=str)
def test_a_part_of_a_command_names_existing_subcommands_and_options(command: Command) -> None:
    program, *arguments = words(without_comment(command.text))
    if program == "python":
        return check_script(SOURCE / arguments[0], arguments[1:])
    if program == "lmms-eval":
        asked = [word.partition("=")[0] for word in arguments if arguments[0].startswith("-") and word.startswith("--")]
        assert all(f"{option} " in help_of_lmms_eval() for option in asked)
        return None
    one: argparse.ArgumentParser = mellms_parser()
    for word in arguments:
        choices = subcommands(one)
        if word.startswith("-") or word.isupper() or not choices:
            break
        assert word in choices, f"{command}: no {word!r}"
        one = choices[word]
    options = {option for action in one._actions for option in action.option_strings}
    for word in arguments:
        assert not re.match("-[-a-z]", word) or word.partition("=")[0] in options, f"{command}: no {word}"
    return None


# ---- run ------------------------------------------------------------------------------------------------------------

ELSEWHERE: dict[str, str] = {
    r"^(\w+=\S+ )*(\.venv/bin/)?lmms-eval .*--tasks synthme_\w+": "tests/test_first_command.py and test_lmms_eval.py",
    r"^lmms-eval .*--tasks (casme2|samm|smic|casme3|dfme|mmew|fourdme|megc2019)_\w+": "tests/test_lmms_eval.py and "
    "tests/test_megc_vqa.py, with fictitious data",
    r"^lmms-eval .*--tasks megc_vqa": "tests/test_megc_vqa.py",
    r"^lmms-eval .*--tasks mydata_meu": "tests/test_lmms_eval.py",
    r"^MELLM_JUDGE=\S+ mellm judge-check": "asks a judge; tests/scoring/test_judge_check.py has one",
    r"^mellm finetune bundled_lora": "minutes; tests/test_finetune.py",
    r"^accelerate launch .* finetune": "several GPUs; tests/training/test_finetune.py",
    r"^mellm (export|loso) ": "needs an adapter, or trains many; tests/training/test_export.py and test_loso.py",
    r"^mellm report .* loso ": "needs folds of a loso; tests/report/test_results.py",
    r"^mellm prepare table .*--crop detector": "needs YuNet's weights; tests/datasets/test_crop.py",
    r"^mellm new-task mydata$": "needs the one above; tests/datasets/test_new_task.py",
    r"^mellm new-task \w+ --from": "needs prepared datasets; tests/datasets/test_clip_list.py",
    r"^mellm prepare (casme3|dfme|fourdme|megc_vqa|mmew|samm|smic) .*(FOLDER|me_vqa)": "names of places; "
    "tests/datasets/test_converters.py and test_megc_vqa.py",
    r"^mellm prepare casme2 --frames FOLDER": "the one with true names is run",
    r"^python benchmarks/": "minutes, or about the clone; their options are checked above",
    r"^python -m mellm_plugin.training.bundled": "an hour; tests/training/test_bundled.py, in small",
}
"""Commands that are not run here, as patterns: the reason, and the test that covers them."""


def where_else(command: Command) -> str | None:
    return next((pattern for pattern in ELSEWHERE if re.search(pattern, command.text)), None)


def test_the_config_in_the_guide_to_fine_tuning_can_be_read(tmp_path: Path) -> None:
    guide = (SOURCE / "docs" / "finetune.md").read_text(encoding="utf-8")
    block = re.search(r"\n\n(    base: (?:.+\n)+)", guide)
    assert block is not None
    (tmp_path / "shown.yaml").write_text(textwrap.dedent(block[1]), encoding="utf-8")
    shown = config.load(tmp_path / "shown.yaml")
    assert [stage.name for stage in shown.stages] == ["perception"] and shown.stages[0].lora is not None


def test_commands_run_elsewhere_are_in_the_docs_and_their_tests_exist() -> None:
    assert len(COMMANDS) > 40 and {words(c.text)[0] for c in COMMANDS} >= {"mellm", "lmms-eval"}
    used = {where_else(command) for command in COMMANDS}
    left = [str(c) for c in COMMANDS if where_else(c) is None and c not in RUN]
    assert not left, "neither run here nor listed in ELSEWHERE"
    assert not ELSEWHERE.keys() - used, "no command matches these"
    tests = Path(__file__).parent
    for why in ELSEWHERE.values():
        for name in re.findall(r"(?:tests/)?[\w/]*test_\w+\.py", why):
            assert list(tests.parent.glob(name)) or list(tests.rglob(name)), name


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the commands name: frames, a clip, a sheet, a table, answers."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(SOURCE / "examples", folder / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(folder / "examples" / "mydata" / "frames", folder / "frames")
    shutil.copy(folder / "examples" / "mydata" / "clips.csv", folder)
    made = fictitious.casme2(folder / "made", 8, frames=6)  # sub01 is one of them
    (folder / "CASME2").mkdir()
    made.frames.rename(folder / "CASME2" / "Cropped")
    made.sheet.rename(folder / "CASME2-coding-20140508.xlsx")
    clip = synthme.draw_clip(synthme.Face(1), np.random.default_rng(1), ("12",), 2.0)
    for name, frame in (("onset", clip.onset), ("apex", clip.apex)):
        Image.fromarray(frame).save(folder / f"{name}.png")
    video = cv2.VideoWriter(str(folder / "clip.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 30, clip.onset.shape[1::-1])
    for share in [*np.linspace(0, 1, 9), *np.linspace(0.9, 0, 7)]:
        between = cv2.addWeighted(clip.apex, float(share), clip.onset, 1 - float(share), 0)
        video.write(cv2.cvtColor(between, cv2.COLOR_RGB2BGR))
    video.release()
    write_run(folder / "results", Asked(clips=12, subjects=4), Model("made up", 0.6))
    with pytest.MonkeyPatch.context() as patch:  # a small test set, which commands take for the whole one
        patch.setattr(synthme, "TEST_CLIPS", 6)
        synthme.prepare(folder / "data")
    samm = fictitious.samm(folder / "made", 4, frames=6)
    run(["mellm", "prepare", "samm", *samm.arguments], environment(folder), folder)
    return folder


RUN = [command for command in shown(GUIDES) if where_else(command) is None and words(command.text)[0] == "mellm"]
FIRST = ("mellm prepare", "mellm new-task")  # other commands read what these write


@pytest.mark.slow
@pytest.mark.parametrize("command", sorted(RUN, key=lambda c: not c.text.startswith(FIRST)), ids=str)
def test_a_command_runs(command: Command, place: Path) -> None:
    assert run(["bash", "-c", command.text], environment(place), place).stdout.strip(), f"{command}: it prints nothing"
