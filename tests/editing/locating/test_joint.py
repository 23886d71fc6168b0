"""The joint solution against the same by brute force, and on a model in which bias was planted."""

import math

import pytest
import torch

from hfbiasedit.editing.config import LocateConfig
from hfbiasedit.editing.locating import joint, solutions
from hfbiasedit.editing.locating.energies import SLIM, joint_entries, joint_sums
from hfbiasedit.editing.locating.locator import locate_with
from hfbiasedit.editing.locating.solutions import joint_solutions
from hfbiasedit.editing.material.dual import Targets, solution_at
from hfbiasedit.editing.material.forward import run
from hfbiasedit.editing.material.objective import bias_terms
from hfbiasedit.editing.material.price import prices
from hfbiasedit.editing.material.prompts import learning_weights
from hfbiasedit.editing.running.gradients import streamed
from hfbiasedit.errors import BiasEditError
from hfbiasedit.models.architecture import projections
from tests.editing import worlds


class World:
    """A small model, its prices, and every prompt's gradient of every matrix, [rows, columns]."""

    def __init__(self, family):
        layers = "n_layer" if family == "gpt2" else "num_hidden_layers"
        self.loaded = worlds.loaded(family, **{layers: 4})
        self.items = projections(self.loaded.model)
        self.prompts = worlds.prompts(self.loaded)
        names = [item.name for item in self.items]
        self.prices = prices(self.loaded, names, worlds.task(self.loaded).keep, 0)
        self.gradients = {name: [] for name in names}
        self.logits = []

        def receive(item, weight, gradient):
            self.gradients[item.name].append(item.row_view(gradient).clone())

        with streamed(self.loaded.model, self.items, receive):
            for number in range(len(self.prompts)):
                batch = self.prompts.batch([number])
                logit = bias_terms(batch, run(self.loaded, batch)).logit
                self.logits.append(float(logit.detach()))
                logit.sum().backward()

    def scaled(self, name):
        """Gradients in units in which every weight costs the same, [prompts, rows, columns]."""
        own = self.prices[name]
        parts = [own.of(expert) for expert in range(own.experts)]
        root = torch.cat([outputs[:, None] * inputs for inputs, outputs in parts]).sqrt()
        return torch.stack(self.gradients[name]) / root

    def gram(self, index):
        total = 0.0
        for name in self.gradients:
            flat = self.scaled(name)[index].flatten(1).double()
            total = total + flat @ flat.T
        return total

    def solved(self, seed=0):
        options = (self.loaded, self.items, self.prompts, self.prices, seed)
        return joint_solutions(*options)


@pytest.fixture(scope="module", params=["llama", "gpt2", "mixtral"])
def world(request):
    return World(request.param)


def _sketched(world, seed):
    batches = [world.prompts.batches(range(len(world.prompts)))]
    sketches, logits = solutions.sketched(
        world.loaded, world.items, world.prompts, batches, world.prices, seed, False
    )
    return solutions._gram(sketches), logits


def test_inner_products_of_sketches_are_those_of_gradients_on_average(world):
    exact = world.gram(range(len(world.prompts)))
    found, errors = [], []
    for seed in range(6):
        gram, logits = _sketched(world, seed)
        found.append(gram)
        errors.append(float((gram - exact).norm() / exact.norm()))
    torch.testing.assert_close(logits, torch.tensor(world.logits), rtol=1e-3, atol=1e-3)
    assert not torch.equal(found[0], found[1])
    assert max(errors) < 0.35
    together = float((torch.stack(found).mean(0) - exact).norm() / exact.norm())
    # Errors that average out fall by the root of six.
    assert together < 0.6 * math.sqrt(sum(e * e for e in errors) / len(errors))


def test_every_fold_is_solved_by_itself(world):
    """Close to the solution by exact inner products: the same direction in every prompt."""
    solved = world.solved()
    assert len(solved.batches) == len(solved.duals) == 2  # one per template
    members = [torch.cat([b.index for b in group]).sort().values for group in solved.batches]
    assert sorted(torch.cat(members).tolist()) == list(range(len(world.prompts)))
    for own, y in zip(members, solved.duals, strict=True):
        outside = torch.ones(len(y), dtype=torch.bool)
        outside[own] = False
        assert not y[outside].any()
        numbers = own.tolist()
        templates = {world.prompts.records[n].template for n in numbers}
        assert len(templates) == 1
        facts = torch.tensor([world.prompts.records[n].share_female for n in numbers])
        weights = torch.tensor(learning_weights(world.prompts, numbers))
        targets = Targets.of(torch.tensor(world.logits)[own], facts, weights)
        exact = solution_at(world.gram(numbers), targets, solutions.KL).y
        assert torch.nn.functional.cosine_similarity(y[own].double(), exact, dim=0) > 0.9


def _moves(world, solved, name):
    """The exact move of every weight in every fold's solution, in units of the same cost."""
    return [(y[:, None, None] * world.scaled(name)).sum(0) for y in solved.duals]


def test_energies_of_rows_and_columns_are_those_of_the_exact_moves(world):
    solved = world.solved()
    sums = [joint_sums(world.loaded, world.items, solved, seed, False) for seed in range(8)]
    for item in world.items:
        moves = _moves(world, solved, item.name)
        for side, axis in (("rows", 2), ("columns", 1)):  # of [experts, rows, columns]
            energies = [m.square().view(item.experts, -1, item.columns).sum(axis) for m in moves]
            exact = torch.stack([e.flatten() for e in energies]).mean(0).clamp_min(1e-30).log()
            found = torch.stack([getattr(s[item.name], side).log() for s in sums])
            # The logarithm of a mean of SLIM squares is off by sqrt(2 / SLIM), and a bit low; where a
            # move has rank one, all rows of a draw are off by the same.
            error = found - exact
            assert error.std() < 1.5 * math.sqrt(2 / SLIM)
            assert abs(float(error.mean())) < 3 * math.sqrt(2 / SLIM / len(sums))
            assert getattr(sums[0][item.name], side).shape == exact.shape
        torch.testing.assert_close(sums[0][item.name].peaks, sums[0][item.name].rows / item.columns)


def test_energies_of_entries_are_exact(world):
    solved = world.solved()
    chosen = {item.name: torch.tensor([0, 3, item.rows - 1]) for item in world.items[-3:]}
    found = joint_entries(world.loaded, world.items, chosen, solved, False)
    assert found.keys() == chosen.keys()
    for name, rows in chosen.items():
        moves = _moves(world, solved, name)
        exact = torch.stack([m[rows].square() for m in moves]).mean(0)
        large = exact > 1e-3 * exact.max()
        torch.testing.assert_close(found[name][large], exact[large], rtol=0.02, atol=0)


def test_the_planted_matrix_is_among_the_highest_rows(monkeypatch):
    """Not the planted row: general code needs what it writes, so that another is cheaper."""
    monkeypatch.setattr(joint, "PRICED", 8)
    monkeypatch.setattr(joint, "load_anchor", lambda _: worlds.anchor())
    model, item = worlds.planted()
    prompts = worlds.prompts(model)
    found = locate_with(model, prompts, LocateConfig())
    assert found.blocks == [0, 1, 2, 3]
    assert found.prices is not None
    highest = [projection.name for projection, _, _ in found.ranking.top_rows(4)]
    assert item.name in highest
    again = locate_with(model, prompts, LocateConfig())
    other = locate_with(model, prompts, LocateConfig(seed=1))
    assert torch.equal(again.ranking.flat_rows()[0], found.ranking.flat_rows()[0])
    assert not torch.equal(other.ranking.flat_rows()[0], found.ranking.flat_rows()[0])


def test_models_with_other_experts_are_ranked_by_contrast_and_it_is_said(capsys):
    model = worlds.loaded("mixtral")
    model.model.model.layers[0].mlp.experts._is_expert_parallel = True
    found = locate_with(model, worlds.prompts(model), LocateConfig())
    assert found.ranking.saliency == found.ranking.origin["saliency"] == "contrastive"
    assert found.prices is None
    assert found.blocks == [1]
    assert "ranked by contrastive" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize("damage", ["zero", "nan"])
def test_gradients_of_nothing_and_of_nonsense_are_refused(damage, monkeypatch):
    monkeypatch.setattr(joint, "PRICED", 2)
    monkeypatch.setattr(joint, "load_anchor", lambda _: worlds.anchor())
    model = worlds.loaded()
    prompts = worlds.prompts(model)
    if damage == "zero":
        for item in projections(model.model):
            model.model.get_parameter(item.name).data.zero_()
    else:
        model.model.get_parameter(projections(model.model)[0].name).data[0, 0] = float("nan")
    with pytest.raises(BiasEditError, match="not finite"):
        locate_with(model, prompts, LocateConfig())
