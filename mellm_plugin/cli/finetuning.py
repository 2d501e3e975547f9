"""`mellm finetune`: a config becomes an adapter that `--model_args adapter=FOLDER` evaluates."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mellm_plugin.cli.commands import Commands, printable
from mellm_plugin.errors import InputError, near

CONFIGS = Path(__file__).parent.parent / "configs"
"""The configs that come with the package."""


def shipped() -> dict[str, Path]:
    """The configs that come with the package, by name."""
    return {path.stem: path for path in sorted(CONFIGS.glob("*.yaml"))}


def find_config(given: str) -> Path:
    """A file, or a config that comes with the package by its name: `bundled_lora`, also `configs/bundled_lora.yaml`.

    Raises:
        InputError: there is neither.
    """
    path = Path(given).expanduser()
    if path.exists() and not path.is_dir():
        return path
    known = shipped()
    if path.parent in (Path(), Path("configs")) and path.name.removesuffix(".yaml") in known:
        return known[path.name.removesuffix(".yaml")]
    hint = near(path.name.removesuffix(".yaml"), known)
    raise InputError(f"no such file; configs that come with the package: {', '.join(known)}.{hint}", where=given)


def _finetune(given: argparse.Namespace) -> None:
    if given.list:
        for name, path in shipped().items():
            print(f"{name}\n  {path}")
            print(f"  {path.read_text(encoding='utf-8').splitlines()[1].lstrip('# ')}")
        return
    if given.config is None:
        raise InputError(f"expected a config: a file, or one of {', '.join(shipped())}", where="mellm finetune")
    from mellm_plugin.training.config import load

    config = load(find_config(given.config), given.set)
    if given.dry_run:
        from mellm_plugin.training.dry_run import dry_run

        found = dry_run(config)
        print(json.dumps(found)) if given.json else _tell_plan(found)
        return
    from mellm_plugin.training.finetune import finetune

    made = finetune(config, restart=given.restart, progress=sys.stderr is not None)
    if os.environ.get("RANK", "0") != "0":
        return
    if given.json:
        print(json.dumps({"output": config.output, **made}))
        return
    for stage in made["stages"]:
        held = "" if stage["validation_loss"] is None else f", validation loss {stage['validation_loss']:.4f}"
        print(f"{stage['name']}: {stage['steps']} steps, loss {stage['loss']:.4f}{held}, {stage['seconds']:.0f} s")
    argument = "pretrained" if config.full else "adapter"
    print(
        f"\nEvaluate: lmms-eval --model mellm --model_args {argument}={printable(config.output)} --tasks synthme_meu",
        end="",
    )
    print(" --output_path results --log_samples")


def _tell_plan(plan: Mapping[str, Any]) -> None:
    subjects = plan["subjects"]
    for name, people in subjects["seen"].items():
        others = [
            f"{len(subjects[key][name])} {told}"
            for key, told in (("validation", "for validation"), ("left_out", "left out"))
            if name in subjects[key]
        ]
        print(f"{name}: {len(people)} subjects to train on{''.join(', ' + other for other in others)}")
    for number, stage in enumerate(plan["stages"], start=1):
        print(f"\nstage {number}, {stage['name']}: {stage['steps']} steps")
        for key in ("train", "validation"):
            if (counted := stage[key]) is None:
                continue
            forms = ", ".join(f"{form} {count}" for form, count in counted["forms"].items())
            print(f"  {key}: {counted['examples']} examples of {counted['clips']} clips ({forms})")
            if key == "train":
                _tell_datasets(counted["datasets"])
        for part, of in stage["parameters"].items():
            print(f"  {part}: {of['trained']:,} trained of {of['parameters']:,} parameters")
        memory = ", ".join(f"{gib:g} GiB in {dtype}" for dtype, gib in stage["memory_gib"].items())
        tokens = stage["tokens"]
        print(f"  up to {tokens['longest']} tokens an example, {tokens['answers']} of them learnt; about {memory}")
    print("\nexamples:")
    for name in plan["examples"]:
        print(f"  {printable(name)}")


def _tell_datasets(datasets: Mapping[str, Any]) -> None:
    for name, of in datasets.items():
        for key in ("labels", "units"):
            if of[key]:
                told = ", ".join(f"{what} {n['examples']}" for what, n in of[key].items())
                print(f"    {name}, examples by {key}: {told}")


def add_commands(commands: Commands) -> None:
    """Add `finetune`."""
    tuning = commands.add(
        "finetune",
        _finetune,
        "tune a model on motion maps by a config; goes on where it was cut off",
        "  mellm finetune bundled_lora --dry-run           (what it would do: data, examples, memory)\n"
        "  mellm finetune bundled_lora                     (a small model, on a CPU, in minutes)\n"
        "  mellm finetune my.yaml --set trainer.batch_size=2 --set 'stages[0].lora.rank=8'\n"
        "  accelerate launch --num_processes 4 -m mellm_plugin.cli finetune my.yaml        (several GPUs)",
    )
    tuning.add_argument(
        "config", nargs="?", metavar="CONFIG", help="a YAML file, or a config that comes with the package"
    )
    tuning.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="change one value of the config"
    )
    tuning.add_argument(
        "--dry-run", action="store_true", help="show data, examples, parameters and memory; train nothing"
    )
    tuning.add_argument(
        "--restart", action="store_true", help="throw away what an earlier run left in the output folder"
    )
    tuning.add_argument("--list", action="store_true", help="list the configs that come with the package")
    tuning.add_argument("--json", action="store_true", help="one JSON object at the end")
