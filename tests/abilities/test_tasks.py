"""Tasks of installed packages: found by name, measured before and after, shown."""

import pytest
from rich.table import Table

from hfbiasedit.abilities import summary
from hfbiasedit.abilities.ability_task import AbilityTask, task_of
from hfbiasedit.abilities.config import AbilityConfig
from hfbiasedit.abilities.extensions import TASKS
from hfbiasedit.abilities.measurement import measure_ability
from hfbiasedit.errors import BiasEditError, UsageError
from tests.editing import worlds
from tests.installing import install


class Spread:
    """The range of the output embedding, which is easily told."""

    takes_samples = False

    def __init__(self, runs_code=False):
        self.runs_code = runs_code

    def prepare(self, config, patch):
        if config.limit == 7:
            raise BiasEditError("seven is refused")
        return config.limit

    def measure(self, loaded, config, patch, prepared):
        weight = loaded.model.get_output_embeddings().weight
        return {"before": {"spread": float(weight.max() - weight.min())}, "limit": prepared}

    def table(self, part):
        table = Table("spread")
        table.add_row(str(part["before"]["spread"]))
        return table


SPREAD, RUNNING, NOTHING = Spread(), Spread(runs_code=True), object()


@pytest.fixture(autouse=True)
def installed(tmp_path, monkeypatch):
    names = {"spread": "SPREAD", "running": "RUNNING", "nothing": "NOTHING", "model": "SPREAD"}
    points = {name: f"{__name__}:{value}" for name, value in names.items()}
    install(tmp_path, "hfbiasedit.ability_tasks", points, monkeypatch)


def test_built_in_tasks_are_what_the_protocol_says():
    assert all(isinstance(task_of(name), AbilityTask) for name in TASKS)
    assert [name for name in TASKS if task_of(name).runs_code] == ["humaneval"]


def test_a_task_of_a_package_is_measured_and_shown():
    model = worlds.loaded("llama")
    document = measure_ability(model, tasks=("spread",), limit=3)
    weight = model.model.get_output_embeddings().weight
    assert document["spread"]["before"]["spread"] == pytest.approx(
        float(weight.max() - weight.min())
    )
    assert document["spread"]["limit"] == 3
    (table,) = summary.tables(document)
    assert table.columns[0].header == "spread"


def test_what_is_wrong_is_said_before_a_model_is_loaded():
    with pytest.raises(BiasEditError, match="seven is refused"):
        measure_ability("/no/such/model", tasks=("spread",), limit=7)


def test_code_of_a_package_runs_only_when_that_is_allowed():
    with pytest.raises(UsageError, match="running runs programs"):
        AbilityConfig(tasks=("running",))
    assert AbilityConfig(tasks=("running",), allow_code_execution=True).tasks == ("running",)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", "not an object with"),
        ("model", "cannot be called"),
        ("spred", "did you mean spread"),
    ],
)
def test_what_is_no_task_is_refused(name, words):
    with pytest.raises(BiasEditError, match=words):
        measure_ability("/no/such/model", tasks=(name,))


def test_documents_of_tasks_that_are_not_installed_are_shown_without_them():
    assert list(summary.tables({"model": None, "elsewhere": {}})) == []
