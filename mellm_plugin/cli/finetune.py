"""`mellm finetune`: train an adapter that `--model_args adapter=FOLDER` evaluates."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from mellm_plugin.cli.options import add_config_values, add_json, find_config, shipped_configs
from mellm_plugin.cli.terminal import printable
from mellm_plugin.errors import InputError

EXAMPLES = """\
  mellm finetune bundled_lora --dry-run           (what it would do: data, examples, memory)
  mellm finetune bundled_lora                     (a small model, on a CPU, in minutes)
  mellm finetune my.yaml --set trainer.batch_size=2 --set 'stages[0].lora.rank=8'
  accelerate launch --num_processes 4 -m mellm_plugin.cli finetune my.yaml        (several GPUs)"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("config", nargs="?", metavar="CONFIG", help="a YAML file, or a config that comes with the package")
    add_config_values(parser)
    add("--dry-run", action="store_true", help="show data, examples, parameters and memory; do not train")
    add("--restart", action="store_true", help="delete what an earlier run left in the output folder")
    add("--list", action="store_true", help="list the configs that come with the package")
    add_json(parser, "at the end, print one JSON object")


def run(given: argparse.Namespace) -> None:
    if given.list:
        for name, path in shipped_configs().items():
            summary = path.read_text(encoding="utf-8").splitlines()[1].lstrip("# ")
            print(f"{name}\n  {path}\n  {summary}")
        return
    if given.config is None:
        raise InputError(f"expected a config: a file, or one of {', '.join(shipped_configs())}", where="mellm finetune")
    from mellm_plugin.training.config import load

    config = load(find_config(given.config), given.set)
    if given.dry_run:
        from mellm_plugin.training.dry_run import dry_run

        plan = dry_run(config)
        print(json.dumps(plan)) if given.json else _print_plan(plan)
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
        if scores := stage.get("validation"):
            print(
                f"  best validation, step {stage['kept_step']}: {', '.join(f'{k} {v:.3f}' for k, v in scores.items())}"
            )
        for fault in stage.get("faults", ()):
            print(f"  WARNING: {fault}")
    task = "--tasks synthme_meu --output_path results --log_samples"
    weights = f"{'pretrained' if config.full else 'adapter'}={printable(config.output)}"
    print(f"\nEvaluate: lmms-eval --model mellm --model_args {weights} {task}")


def _print_plan(plan: Mapping[str, Any]) -> None:
    subjects = plan["subjects"]
    for name, seen in subjects["seen"].items():
        uses = {"validation": "for validation", "left_out": "left out"}
        others = [f", {len(subjects[key][name])} {use}" for key, use in uses.items() if name in subjects[key]]
        print(f"{name}: {len(seen)} subjects to train on{''.join(others)}")
    for number, stage in enumerate(plan["stages"], start=1):
        print(f"\nstage {number}, {stage['name']}: {stage['steps']} steps")
        for key in ("train", "validation"):
            if (counted := stage[key]) is None:
                continue
            forms = ", ".join(f"{form} {count}" for form, count in counted["forms"].items())
            print(f"  {key}: {counted['examples']} examples from {counted['clips']} clips ({forms})")
            for name, dataset in counted["datasets"].items() if key == "train" else ():
                for kind in ("labels", "units"):
                    if dataset[kind]:
                        counts = ", ".join(f"{label} {count['examples']}" for label, count in dataset[kind].items())
                        print(f"    {name}, examples by {kind}: {counts}")
        for part, count in stage["parameters"].items():
            print(f"  {part}: {count['trained']:,} of {count['parameters']:,} parameters trained")
        memory = ", ".join(f"{gib:g} GiB in {dtype}" for dtype, gib in stage["memory_gib"].items())
        tokens = stage["tokens"]
        print(f"  at most {tokens['longest']} tokens per example, loss on {tokens['answers']} of them; about {memory}")
    print("\nexamples:")
    for name in plan["examples"]:
        print(f"  {printable(name)}")
