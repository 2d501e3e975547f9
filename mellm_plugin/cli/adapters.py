"""`mellm export`: what can be done with a trained adapter beside evaluating it."""

from __future__ import annotations

import argparse
from pathlib import Path

from mellm_plugin.cli.commands import Commands


def _export(given: argparse.Namespace) -> None:
    from mellm_plugin.training.export import export

    out = export(given.adapter, Path(given.output), dtype=given.dtype, trust_remote_code=given.trust_remote_code)
    print(f"Evaluate: lmms-eval --model mellm --model_args pretrained={out} --tasks synthme_meu --output_path results")
    print(f"Serve:    vllm serve {out}")


def add_commands(commands: Commands) -> None:
    """Add `export`."""
    exporting = commands.add(
        "export",
        _export,
        "merge an adapter into its base: one model, for vLLM, plain transformers and lmms-eval",
        "  mellm export runs/labels -o merged\n  mellm export runs/labels -o merged --dtype bfloat16",
    )
    exporting.add_argument("adapter", metavar="ADAPTER", help="folder of an adapter, or its hub id")
    exporting.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="where to; a folder that is not there"
    )
    exporting.add_argument(
        "--dtype",
        default="auto",
        help="of the weights: float32, bfloat16, float16, or auto, that of the base's files (default)",
    )
    exporting.add_argument("--trust-remote-code", action="store_true", help="run Python code that comes with the base")
