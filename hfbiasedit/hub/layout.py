"""Names of files in repositories."""

from __future__ import annotations

from hfbiasedit.documents.runs import PATCH

# Beside a model the patch lies in a folder: some servers take every safetensors file of the
# top level for weights.
PATCH_BESIDE_MODEL = f"patch/{PATCH}"
# Beside full weights it makes transformers load an adapter onto them, where peft is installed.
ADAPTER = "adapter_config.json"
# What this program wrote, so that the next push knows its own files from other people's.
MANIFEST = ".hfbiasedit.json"
