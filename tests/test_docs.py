"""Every command that the documentation shows: read by the real parsers, and run where it can be.

A command is a line of a fenced or indented block, or of the examples of a help, that starts with one of our programs.
`mellm ..` in the middle of a sentence may be a part of one: of it the name and the options are held to be there.

What cannot be run here stands in `ELSEWHERE`, each with its reason; an entry that fits no command any more fails.
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

GUIDES = [SOURCE / "README.md", SOURCE / "CONTRIBUTING.md", *sorted((SOURCE / "docs").glob("*.md"))]
PAGES = [
    *GUIDES,
    *(page for folder in ("mellm_plugin", "tasks") for page in sorted((SOURCE / folder).rglob("README.md"))),
]
OURS = ("mellm", "lmms-eval", "python", "accelerate", "torchrun")
OF_THE_EXAMPLE = {"mydata_meu", "my_synthme"}


@dataclass(frozen=True)
class Command:
    """A command as it is shown, without what is said of it."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


def plain(line: str) -> str:
    """A shown line without the words behind it: `mellm map a b   # draws`, `mellm loso ..   (two at once)`."""
    line = re.sub(r"\s{2,}\([^()]*\)$", "", line.strip().removeprefix("$ "))
    kept = re.match(r"""(?:[^#'"]|'[^']*'|"[^"]*"|(?<=\S)#)*""", line)
    return (kept[0] if kept else line).strip()


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """The lines of fenced and of indented blocks with their numbers; lines that end in a backslash go on."""
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
    """The commands of a shell line: the parts between `&&`, `|` and `;`, and what stands in `$(..)`."""
    line = plain(line)
    yield from re.findall(r"\$\(([^()]*)\)", line)
    for part in re.split(r"\s(?:&&|\|\||\||;)\s", re.sub(r"\$\([^()]*\)", "PRINTED", line)):
        yield part.strip()


def words(text: str) -> list[str]:
    """The words of one command, from its program on: without variables before it, and what it reads from."""
    found = shlex.split(re.sub(r"\s<\s*\S+", "", text))
    while found and re.fullmatch(r"\w+=.*", found[0]):
        found.pop(0)
    if found:
        found[0] = "python" if Path(found[0]).name in ("python", "python3") else Path(found[0]).name
    return [word for word in found if not re.fullmatch(r"\.{2,3}", word)]


def is_ours(text: str) -> bool:
    try:
        found = words(text)
    except ValueError:  # of a block that is no shell
        return False
    if not found or found[0] not in OURS or len(found) == 1:
        return False
    return found[0] != "python" or found[1] == "-m" or found[1].endswith(".py")


def shown(pages: list[Path]) -> list[Command]:
    """The commands of blocks, each once."""
    found: dict[str, Command] = {}
    for page in pages:
        for number, line in blocks(page.read_text(encoding="utf-8")):
            for text in programs(line):
                if is_ours(text) and words(text)[1:3] != ["-m", "venv"]:
                    found.setdefault(text, Command(f"{page.relative_to(SOURCE)}:{number}", text))
    return list(found.values())


def of_help() -> list[Command]:
    found: list[Command] = []
    for one in parsers(parser()):
        for text in (one.description or "", one.epilog or ""):
            for line in text.split("\n"):
                if line.startswith("  "):
                    found += [Command(f"{one.prog} --help", t) for t in programs(line) if is_ours(t)]
    return found


COMMANDS = shown(PAGES)


# ---- read -----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def parser_of_evaluations() -> Callable[[], object]:
    """lmms-eval's own function that reads its command line, without the half a minute of imports above it."""
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


def read_by_lmms_eval(arguments: list[str]) -> argparse.Namespace | None:
    if not arguments[0].startswith("-"):
        from lmms_eval.cli.dispatch import _build_parser

        _build_parser().parse_args(arguments)
        return None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lmms-eval", *arguments])
        (_, given) = parser_of_evaluations()()  # type: ignore[misc]
    assert isinstance(given, argparse.Namespace)
    return given


def read_by_a_script(file: Path, arguments: list[str]) -> None:
    """A script of ours: that it is there, and has these options."""
    assert file.is_file(), f"there is no {file}"
    calls = [node for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]
    added = [call.args for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "add_argument"]
    known = {arg.value for args in added for arg in args if isinstance(arg, ast.Constant)}
    asked = {word.partition("=")[0] for word in arguments if word.startswith("-")}
    assert asked <= known, f"{file.name} has no {', '.join(asked - known)}"


def read(text: str) -> None:
    """Fails where a command would not be understood; nothing is run."""
    program, *arguments = words(text)
    if program in ("accelerate", "torchrun"):
        module = arguments.index("-m")
        program, arguments = arguments[module + 1], arguments[module + 2 :]
    elif program == "python" and arguments[0] == "-m":
        program, arguments = arguments[1], arguments[2:]
    if program in ("mellm", "mellm_plugin.cli"):
        parser().parse_args(arguments)
    elif program in ("lmms-eval", "lmms_eval"):
        given = read_by_lmms_eval(arguments)
        tasks = (given.tasks or "").split(",") if given is not None else []
        assert set(tasks) - {""} <= {*list_tasks(task_folder()), *OF_THE_EXAMPLE}, tasks
    elif program == "python":
        read_by_a_script(SOURCE / arguments[0], arguments[1:])
    elif program.startswith("mellm_plugin."):
        spec = importlib.util.find_spec(program)
        assert spec is not None and spec.origin is not None
        read_by_a_script(Path(spec.origin), arguments)
    else:
        assert program in ("pytest", "pip", "build"), program


@pytest.mark.parametrize("command", [*COMMANDS, *of_help()], ids=str)
def test_a_shown_command_is_understood(command: Command) -> None:
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            read(command.text)
    except SystemExit as ended:
        pytest.fail(f"{command}\n{told.getvalue()}", pytrace=False) if ended.code else None


INLINE = re.compile(r"`((?:mellm|lmms-eval|python (?:benchmarks|tests|examples)/)[^`\n]* [^`\n]*)`")


def parts() -> list[Command]:
    """What stands in sentences, but for the log, which tells of how things were."""
    found: dict[str, Command] = {}
    for page in PAGES:
        if page.name == "log.md":
            continue
        for number, line in enumerate(page.read_text(encoding="utf-8").split("\n"), 1):
            for text in INLINE.findall(line):
                found.setdefault(text, Command(f"{page.relative_to(SOURCE)}:{number}", text))
    return list(found.values())


@pytest.mark.parametrize("command", parts(), ids=str)
def test_a_part_of_a_command_names_what_is_there(command: Command) -> None:
    program, *arguments = words(plain(command.text))
    if program == "python":
        return read_by_a_script(SOURCE / arguments[0], arguments[1:])
    if program == "lmms-eval":
        asked = [word.partition("=")[0] for word in arguments if word.startswith("--")]
        if not arguments[0].startswith("-"):
            return None
        known = io.StringIO()
        with contextlib.redirect_stdout(known), contextlib.suppress(SystemExit):
            read_by_lmms_eval(["--help"])
        return None if all(f"{option} " in known.getvalue() for option in asked) else pytest.fail(str(command))
    one: argparse.ArgumentParser = parser()
    for word in arguments:
        choices = subcommands(one)
        if word.startswith("-") or word.isupper() or not choices:
            break
        assert word in choices, f"{command}: there is no {word!r}"
        one = choices[word]
    options = {option for action in one._actions for option in action.option_strings}
    for word in arguments:
        assert not re.match("-[-a-z]", word) or word.partition("=")[0] in options, f"{command}: there is no {word}"
    return None


def test_what_is_wrong_is_seen() -> None:
    for text in ("mellm mpa a.png -o b.png", "mellm map a.png", "mellm map a b -o c --lgend", "lmms-eval --taks x"):
        with pytest.raises(SystemExit), contextlib.redirect_stderr(io.StringIO()):
            read(text)
    for text in ("lmms-eval --tasks casme_meu", "python benchmarks/none.py", "python benchmarks/apex.py --nothing"):
        with pytest.raises(AssertionError):
            read(text)
    page = (
        "```bash\nA=1 mellm au 12 \\\n  4   # words\n```\n\n    mellm tasks && .venv/bin/lmms-eval --x   (both)\n\n"
        "text\n    mellm no\n"
    )
    found = [text for _, line in blocks(page) for text in programs(line)]
    assert found == ["A=1 mellm au 12  4", "mellm tasks", ".venv/bin/lmms-eval --x"]
    assert len(COMMANDS) > 40 and {words(c.text)[0] for c in COMMANDS} >= {"mellm", "lmms-eval"}


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
    r"^python -m mellm_plugin.training.bundled": "an hour; tests/training/test_bundled.py, in small",
}
"""What is not run here, by a pattern of its text: why, and where it or its like is."""


def where_else(command: Command) -> str | None:
    return next((pattern for pattern in ELSEWHERE if re.search(pattern, command.text)), None)


def test_what_is_run_elsewhere_is_shown_and_is_there() -> None:
    used = {where_else(command) for command in COMMANDS}
    left = [str(c) for c in COMMANDS if where_else(c) is None and c not in RUN]
    assert not left, "neither run here nor said to be run elsewhere"
    assert not ELSEWHERE.keys() - used, "no command fits these any more"
    tests = Path(__file__).parent
    for why in ELSEWHERE.values():
        for name in re.findall(r"(?:tests/)?[\w/]*test_\w+\.py", why):
            assert list(tests.parent.glob(name)) or list(tests.rglob(name)), name


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that the commands name: frames, a clip, a sheet, a table, answers."""
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
    with pytest.MonkeyPatch.context() as patch:  # the same set in small: who finds it takes it for the whole
        patch.setattr(synthme, "TEST_CLIPS", 6)
        synthme.prepare(folder / "data")
    samm = fictitious.samm(folder / "made", 4, frames=6)
    run(["mellm", "prepare", "samm", *samm.arguments], environment(folder), folder)
    return folder


RUN = [command for command in shown(GUIDES) if where_else(command) is None and words(command.text)[0] == "mellm"]
FIRST = ("mellm prepare", "mellm new-task")  # what others read


@pytest.mark.slow
@pytest.mark.parametrize("command", sorted(RUN, key=lambda c: not c.text.startswith(FIRST)), ids=str)
def test_a_shown_command_runs(command: Command, place: Path) -> None:
    assert run(["bash", "-c", command.text], environment(place), place).stdout.strip(), f"{command}: it says nothing"
