"""A patch on a model of 100M parameters in memory, against copying its state.

python benchmarks/patch_memory.py [--repeat 5]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def best(action: Callable[[], object], repeat: int) -> float:
    """Shortest of several runs, in seconds."""
    times = []
    for _ in range(repeat):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Make the model, edit a share of all rows, print times, ratios and sizes."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from hfbiasedit.patches.building import Change
    from hfbiasedit.patches.patch import Patch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--share", type=float, default=0.01, help="of the rows")
    options = parser.parse_args()
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "llama", hidden_size=640, intermediate_size=1792, num_hidden_layers=14,
        num_attention_heads=10, num_key_value_heads=10, vocab_size=24000,
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config).bfloat16()
    count = sum(parameter.numel() for parameter in model.parameters())
    changes = {}
    for name, parameter in model.named_parameters():
        if "proj" in name:
            rows = torch.randperm(len(parameter))[: max(1, round(options.share * len(parameter)))]
            new = torch.randn(len(rows), parameter.shape[1]).bfloat16()
            changes[name] = Change("rows", rows, new)
    started = time.perf_counter()
    patch = Patch.from_changes(model, changes)
    print(f"{count / 1e6:.0f}M parameters, {patch.weights:,} weights edited")
    print(f"from_changes {1000 * (time.perf_counter() - started):.1f} ms")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "p.safetensors")
        patch.save(file)
        needed = patch.summary()["bytes"]
        size = file.stat().st_size
        print(f"file {size:,} bytes = {size / needed:.4f}x what the weights need")
        loaded = Patch.load(file)

        def there_and_back() -> None:
            loaded.apply_(model)
            loaded.revert_(model)

        def copy_state() -> None:
            saved = {name: tensor.clone() for name, tensor in model.state_dict().items()}
            model.load_state_dict(saved)

        ours, theirs = best(there_and_back, options.repeat), best(copy_state, options.repeat)
    print(f"apply and revert {1000 * ours:.1f} ms")
    print(f"copy the state and load it back {1000 * theirs:.1f} ms: {theirs / ours:.1f}x as long")


if __name__ == "__main__":
    main()
