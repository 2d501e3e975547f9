"""`mellm export` and `mellm loso`: one model out of an adapter, and one adapter for each person left out."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from mellm_plugin.cli.commands import Commands
from mellm_plugin.cli.finetuning import find_config


def _export(given: argparse.Namespace) -> None:
    from mellm_plugin.locks import sole_writer
    from mellm_plugin.training.export import export

    target = Path(given.output).expanduser()
    with sole_writer(target):
        out = export(
            given.adapter,
            target,
            base=given.base,
            dtype=given.dtype,
            trust_remote_code=given.trust_remote_code,
        )
    if given.json:
        print(json.dumps({"folder": str(out)}))
        return
    print(f"Evaluate: lmms-eval --model mellm --model_args pretrained={out} --tasks synthme_meu --output_path results")
    print(f"Serve:    vllm serve {out}")


def _loso(given: argparse.Namespace) -> None:
    from mellm_plugin.training.config import load
    from mellm_plugin.training.loso import loso

    found = loso(
        load(find_config(given.config), given.set),
        given.task,
        Path(given.output),
        folds=given.folds,
        jobs=given.jobs,
        devices=[one for one in given.devices.split(",") if one],
        allow_incomplete=given.allow_incomplete,
        include_path=given.include_path,
        batch_size=given.batch_size,
        tell=lambda line: print(line, file=sys.stderr if given.json else sys.stdout, flush=True),
    )
    if given.json:
        print(json.dumps({"folder": str(Path(given.output).expanduser().absolute()), **found}))


def add_commands(commands: Commands) -> None:
    """Add `export` and `loso`."""
    exporting = commands.add(
        "export",
        _export,
        "merge an adapter into its base: one model, for vLLM, plain transformers and lmms-eval",
        "  mellm export runs/labels -o merged\n  mellm export runs/labels -o merged --dtype bfloat16\n"
        "  mellm export runs/labels -o merged --base Qwen/Qwen2.5-VL-7B-Instruct",
    )
    exporting.add_argument("adapter", metavar="ADAPTER", help="folder of an adapter, or its hub id")
    exporting.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="where to; a folder that is not there"
    )
    exporting.add_argument(
        "--base", metavar="MODEL", help="folder or hub id of its base; default: what the adapter names"
    )
    exporting.add_argument(
        "--dtype",
        default="auto",
        help="of the weights: float32, bfloat16, float16, or auto, that of the base's files (default)",
    )
    exporting.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the base")
    exporting.add_argument("--json", action="store_true", help="print the folder as one JSON object")

    leaving = commands.add(
        "loso",
        _loso,
        "leave one subject out: train on all but one person, ask about that one; goes on where it was cut off",
        "  mellm loso my.yaml --task casme2_emotion -o loso\n"
        "  mellm loso my.yaml --task casme2_emotion -o loso --devices cuda:0,cuda:1\n"
        "  mellm loso my.yaml --task megc2019_meu -o loso --folds 8 --jobs 2       (8 groups of people, two at once)",
    )
    add = leaving.add_argument
    add("config", metavar="CONFIG", help="a YAML file as mellm finetune takes it; its output is not used")
    add("--task", required=True, help="the task of lmms-eval whose people are left out in turn")
    add("-o", "--output", required=True, metavar="FOLDER", help="where all of it goes")
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="change one value of the config")
    add("--folds", type=int, metavar="N", help="groups of people, in place of one fold for each person")
    add("--jobs", type=int, default=1, metavar="N", help="folds at once on each device (default: %(default)s)")
    add("--devices", default="", metavar="LIST", help="cuda:0,cuda:1 or cpu; each fold sees one of them")
    add("--batch-size", type=int, default=1, metavar="N", help="of the evaluations (default: %(default)s)")
    add("--include-path", metavar="FOLDER", help="a folder of further task files")
    add("--allow-incomplete", action="store_true", help="score what there is where folds have failed, and mark it")
    add("--json", action="store_true", help="print at the end what results.json holds, as one JSON object")
