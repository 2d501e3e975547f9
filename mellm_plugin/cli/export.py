"""`mellm export`: merge an adapter into its base model."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mellm_plugin.cli.options import add_json

EXAMPLES = """\
  mellm export runs/labels -o merged
  mellm export runs/labels -o merged --dtype bfloat16
  mellm export runs/labels -o merged --base Qwen/Qwen2.5-VL-7B-Instruct"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("adapter", metavar="ADAPTER", help="folder of an adapter, or its hub id")
    add("-o", "--output", required=True, metavar="FOLDER", help="folder for the model; it must not exist")
    add("--base", metavar="MODEL", help="folder or hub id of the base; default: the one the adapter names")
    add("--dtype", default="auto", help="float32, bfloat16, float16, or auto: that of the base's files (default: auto)")
    add("--trust-remote-code", action="store_true", help="run Python code that comes with the base")
    add_json(parser, "print the folder as one JSON object")


def run(given: argparse.Namespace) -> None:
    from mellm_plugin.locks import sole_writer

    target = Path(given.output).expanduser()
    with sole_writer(target):
        from mellm_plugin.training.export import export  # takes seconds: only once the folder is ours

        out = export(
            given.adapter, target, base=given.base, dtype=given.dtype, trust_remote_code=given.trust_remote_code
        )
    if given.json:
        print(json.dumps({"folder": str(out)}))
        return
    print(f"Evaluate: lmms-eval --model mellm --model_args pretrained={out} --tasks synthme_meu --output_path results")
    if (out / "heads.json").is_file():
        print("Heads:    carried over; --model_args pretrained=..,answer=head (vllm serves the words alone)")
    print(f"Serve:    vllm serve {out}")
