"""Prompts scored by two processes: the numbers of one, each with a part of the work."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from hfbiasedit import processes
from hfbiasedit.errors import BiasEditError
from hfbiasedit.scoring.continuations import encode
from hfbiasedit.scoring.engine import score
from hfbiasedit.scoring.passes import Passes
from tests.pairs import run_two
from tests.scoring.worlds import records, tiny

# As trees; one by one; after shared prefixes; with attention that cannot be exchanged.
WAYS = {
    "trees": ("llama", {"batch_size": 4}),
    "alone": ("llama", {"batch_size": 3, "share_prefixes": False}),
    "prefixes": ("stablelm", {"batch_size": 4}),
    "in memory that is short": ("llama", {"batch_size": 16}),
}


def scored(way: str) -> tuple[list[list[float]], dict, int]:
    """Log-probabilities, plan, and how many prompts were scored in this process."""
    family, options = WAYS[way]
    model = tiny(family)
    passes = []

    def counted(name):
        usual = getattr(Passes, name)

        def run(self, prompts, *rest):
            if way == "in memory that is short" and processes.rank() == 1 and len(prompts) > 2:
                raise MemoryError("DefaultCPUAllocator: can't allocate memory")
            passes.append(len(prompts))
            return usual(self, prompts, *rest)

        return run

    saved = {name: getattr(Passes, name) for name in ("run", "run_tree")}
    for name in saved:
        setattr(Passes, name, counted(name))
    try:
        found = score(model, encode(model.tokenizer, records()), **options)
    finally:
        for name, usual in saved.items():
            setattr(Passes, name, usual)
    return np.stack([found.log_male, found.log_female]).tolist(), found.plan, sum(passes)


def main() -> None:
    """What each of the two processes does."""
    results = {}
    usual = Passes.run

    def broken(self, prompts, prefix):
        if processes.rank() == 1:
            raise BiasEditError("the weights are damaged")
        return usual(self, prompts, prefix)

    with processes.together():
        for way in WAYS:
            results[way] = scored(way)
        Passes.run = broken
        try:
            scored("alone")
        except BiasEditError as error:
            results["failure"] = [str(error), processes.is_said_here(error)]
            sys.stdout.write(json.dumps(results))
            sys.stdout.flush()
            raise


@pytest.fixture(scope="module")
def both():
    return run_two("-m", "tests.scoring.test_shared")


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_find_what_one_finds(both, way):
    expected, plan, _ = scored(way)
    found = [json.loads(ended.out)[way] for ended in both]
    for values, its_plan, done in found:
        assert (
            values == expected if "memory" not in way else np.allclose(values, expected, atol=1e-5)
        )
        assert its_plan["packed"] == plan["packed"]
        assert 0 < done < 0.75 * len(records()) + 4  # its part, and what is checked with it
    assert found[0][:2] == found[1][:2]


def test_a_failure_of_one_is_the_failure_of_both(both):
    assert [ended.status for ended in both] == [1, 1]
    first, second = (json.loads(ended.out)["failure"] for ended in both)
    assert first == ["process 1 failed: BiasEditError: the weights are damaged", True]
    assert second == ["the weights are damaged", False]


def test_a_process_alone_is_its_own_team():
    with processes.together():
        assert processes.team() == (0, 1)
        assert processes.gathered("x") == ["x"]
        with pytest.raises(ZeroDivisionError):
            processes.everywhere(lambda: 1 / 0)


if __name__ == "__main__":
    main()
