"""The options classes, their keywords for type checkers, and what both promise."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

import pytest

from hfbiasedit.abilities.config import AbilityConfig, AbilityOverrides
from hfbiasedit.audits.config import AuditConfig, AuditOverrides
from hfbiasedit.codegenbias.options import (
    ChoiceOptions,
    ChoiceOverrides,
    ExportOptions,
    PromptOptions,
    PromptOverrides,
    ReferenceOptions,
    ReferenceOverrides,
)
from hfbiasedit.editing.config import (
    EditConfig,
    EditOverrides,
    LocateConfig,
    LocateOverrides,
    SweepConfig,
)
from hfbiasedit.errors import UsageError
from hfbiasedit.fields import hints_of, options_of
from hfbiasedit.models.options import ModelOptions, ModelOverrides
from hfbiasedit.publishing.config import PushConfig, PushOverrides

ROOT = Path(__file__).parents[1]
# `audit(model, config)` and `ability(model, config)` have an argument of that name.
PAIRS = [
    (ModelOptions, ModelOverrides, set()),
    (ReferenceOptions, ReferenceOverrides, set()),
    (PromptOptions, PromptOverrides, set()),
    (ChoiceOptions, ChoiceOverrides, {"config"}),
    (AuditConfig, AuditOverrides, {"config"}),
    (AbilityConfig, AbilityOverrides, {"config"}),
    (LocateConfig, LocateOverrides, set()),
    (EditConfig, EditOverrides, set()),
    (PushConfig, PushOverrides, set()),
]
CLASSES = [pair[0] for pair in PAIRS] + [SweepConfig, ExportOptions]
HEAVY = ("torch", "transformers", "datasets", "huggingface_hub", "matplotlib", "numpy", "typer")


@pytest.mark.parametrize(("options", "keywords", "apart"), PAIRS)
def test_keywords_agree_with_the_fields(options, keywords, apart):
    hints = hints_of(options)
    assert get_type_hints(keywords) == {n: hints[n] for n in hints if n not in apart}


@pytest.mark.parametrize("cls", CLASSES)
def test_every_field_explains_itself(cls):
    explained = options_of(cls)
    assert {field.name for field in fields(cls)} - set(explained) <= {"edit"}
    for name, spec in explained.items():
        assert spec.help.endswith((".", "]")), name
        assert f"    {name}: {spec.help}" in cls.__doc__
    cls()  # the defaults pass the checks


def test_options_import_nothing_heavy():
    modules = sorted({cls.__module__ for cls in CLASSES})
    code = f"import sys, {', '.join(modules)}\nprint([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("cls", "given", "message"),
    [
        (EditConfig, dict(granularity="rwo"), "unknown granularity 'rwo'; did you mean row?"),
        (EditConfig, dict(solver="newtn"), "unknown solver 'newtn'; did you mean newton?"),
        (EditConfig, dict(include=("heads",)), "unknown include 'heads'; did you mean head?"),
        (EditConfig, dict(max_kl=0), "max_kl is 0; give a number above 0"),
        (EditConfig, dict(seed=-1), "seed is -1; give 0 or more"),
        (EditConfig, dict(seed=2**32), "seed is 4294967296; give at most 4294967295"),
        (LocateConfig, dict(seed=-1), "seed is -1; give 0 or more"),
        (AuditConfig, dict(seed=-1), "seed is -1; give 0 or more"),
        (AbilityConfig, dict(seed=-1), "seed is -1; give 0 or more"),
        (EditConfig, dict(steps=0), "steps is 0; give at least 1"),
        (EditConfig, dict(learning_rate=0.0), "learning_rate is 0.0; give a number above 0"),
        (EditConfig, dict(audit="quik"), "unknown configuration 'quik'; did you mean quick?"),
        (LocateConfig, dict(saliency="fishr"), "unknown saliency 'fishr'; did you mean fisher?"),
        (LocateConfig, dict(probe_prompts=0), "probe_prompts is 0; give at least 1"),
        (SweepConfig, dict(baselines=("lra",)), "unknown baseline 'lra'; did you mean lora?"),
        (AuditConfig, dict(config="quik"), "unknown configuration 'quik'; did you mean quick?"),
        (AuditConfig, dict(split="tst"), "unknown split 'tst'; did you mean test?"),
        (AuditConfig, dict(limit=0), "limit is 0; give at least 1"),
        (AuditConfig, dict(records="jsonl"), "records need a directory"),
        (AuditConfig, dict(dtype="bfloat"), "unknown dtype 'bfloat'; did you mean bfloat16?"),
        (AuditConfig, dict(device="cude"), "unknown device 'cude'; did you mean cuda?"),
        (AuditConfig, dict(device="cuda:one"), "unknown device 'cuda:one'; did you mean cuda?"),
        (AbilityConfig, dict(tasks=("sintax",)), "unknown task 'sintax'; did you mean syntax?"),
        (AbilityConfig, dict(k=(0,)), "k is 0; give at least 1"),
        (
            EditConfig,
            dict(prompts="my.jsonl", audit="full"),
            "my.jsonl and the configuration full are different prompts; leave --prompts or --audit",
        ),
        (
            ExportOptions,
            dict(prompts="my.jsonl", config="quick"),
            "my.jsonl and the configuration quick are different prompts",
        ),
        (PushConfig, dict(what="modl"), "unknown what 'modl'; did you mean model?"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_loaded(cls, given, message):
    with pytest.raises(UsageError) as refused:
        cls(**given)
    assert str(refused.value).startswith(message)


def test_prompts_of_ones_own_go_with_the_defaults():
    for cls in (AuditConfig, EditConfig, ExportOptions):
        assert cls(prompts="my.jsonl").prompts == "my.jsonl"


def test_other_spellings_stay_understood():
    for dtype in ("fp32", "torch.bfloat16", "half", "float64"):
        assert ModelOptions(dtype=dtype).dtype == dtype
    for device in ("cuda:7", "mps:0", "xpu"):
        assert ModelOptions(device=device).device == device
    assert EditConfig(budget=64).chosen_budget == "64"


# Nothing of these is needed to see what the functions take.
SETTINGS = """
[mypy]
follow_imports = silent
[mypy-torch.*,transformers.*,numpy.*,rich.*,huggingface_hub.*,safetensors.*,datasets.*,pyarrow.*]
follow_imports = skip
ignore_missing_imports = true
"""
RIGHT = (
    'edit("m", granularity="neuron", budget=64, dtype="float32", out="run")',
    'audit("m", "core", split="test", limit=12, professions=("nurse",))',
    'locate("m", saliency="fisher", device="cpu")',
    'sweep("m", steps=3)',
)
WRONG = (
    ("granularity", 'edit("m", granularity="rwo")'),
    ("nonsense", 'audit("m", nonsense=3)'),
    ("seed", 'locate("m", seed="zero")'),
    ("steps", 'sweep("m", steps=3.5)'),
    ("records", 'audit("m", records="xlsx")'),
)


def test_a_type_checker_knows_the_options(tmp_path):
    program, settings = tmp_path / "program.py", tmp_path / "mypy.ini"
    settings.write_text(SETTINGS)
    calls = [*RIGHT, *(call for _, call in WRONG)]
    program.write_text("\n".join(["from hfbiasedit import audit, edit, locate, sweep", *calls]))
    files = ["--config-file", settings, "--cache-dir", tmp_path / "cache", program]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *map(str, files)],
        capture_output=True,
        text=True,
        env=os.environ | {"MYPYPATH": str(ROOT)},
    )
    said = [line for line in done.stdout.splitlines() if ": error: " in line]
    assert len(said) == len(WRONG), done.stdout + done.stderr
    for number, ((word, _), line) in enumerate(zip(WRONG, said, strict=True), 2 + len(RIGHT)):
        assert f"program.py:{number}: error: " in line
        assert f'"{word}"' in line
