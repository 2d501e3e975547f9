"""`mellm loso`: one adapter for each subject left out."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from mellm_plugin.cli.options import add_config_values, add_json, find_config

EXAMPLES = """\
  mellm loso my.yaml --task casme2_emotion -o loso
  mellm loso my.yaml --task casme2_emotion -o loso --devices cuda:0,cuda:1
  mellm loso my.yaml --task megc2019_meu -o loso --folds 8 --jobs 2       (8 groups of subjects, two at once)
  mellm loso my.yaml --task casme2_emotion -o loso --baseline flow,tokens   (the baselines alone, in minutes)"""
_NAMES = "flow, tokens"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("config", metavar="CONFIG", help="a YAML file as for mellm finetune; its output is not used")
    add("--task", required=True, help="the lmms-eval task whose subjects are left out in turn")
    add("-o", "--output", required=True, metavar="FOLDER", help="folder for all folds and their results")
    add_config_values(parser)
    add("--folds", type=int, metavar="N", help="groups of subjects, instead of one fold per subject")
    add("--jobs", type=int, default=1, metavar="N", help="concurrent folds on each device (default: %(default)s)")
    add("--devices", default="", metavar="LIST", help="cuda:0,cuda:1 or cpu; each fold sees one of them")
    add("--batch-size", type=int, default=1, metavar="N", help="of the evaluations (default: %(default)s)")
    add(
        "--decide",
        choices=("generate", "likelihood"),
        default="generate",
        help="how closed questions (*_emotion, *_coarse) are answered (default: %(default)s)",
    )
    add(
        "--answer",
        choices=("words", "head", "both"),
        default="words",
        help="who answers: the words, kept heads, or both, scored apart (default: %(default)s)",
    )
    add("--include-path", metavar="FOLDER", help="a folder of further task files")
    add("--allow-incomplete", action="store_true", help="where folds failed, score the others and mark the result")
    add(
        "--baseline",
        metavar="LIST",
        help=f"train no adapter: only these linear classifiers, of {_NAMES}, under the same folds",
    )
    add(
        "--beside",
        default="flow,tokens",
        metavar="LIST",
        help="baselines run first and shown beside the trained model, or none (default: %(default)s)",
    )
    add_json(parser, "at the end, print the content of results.json as one JSON object")


def run(given: argparse.Namespace) -> None:
    from mellm_plugin.training.config import load
    from mellm_plugin.training.loso import loso

    names = ("folds", "jobs", "allow_incomplete", "include_path", "batch_size", "decide", "answer")
    same: dict[str, Any] = {name: getattr(given, name) for name in names}
    devices = [one for one in given.devices.split(",") if one]
    tell = partial(print, file=sys.stderr if given.json else sys.stdout, flush=True)
    alone = given.baseline is not None
    listed = [one.strip() for one in (given.baseline if alone else given.beside).split(",")]
    same |= {"trained": not alone, "baselines": [one for one in listed if one and (alone or one != "none")]}
    config = load(find_config(given.config), given.set)
    found = loso(config, given.task, Path(given.output), devices=devices, tell=tell, **same)
    if given.json:
        print(json.dumps({"folder": str(Path(given.output).expanduser().absolute()), **found}))
