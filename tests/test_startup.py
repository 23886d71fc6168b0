"""Start-up: modules that wait until they are needed, a collector that pauses, a lean cold audit."""

import gc
import importlib
import subprocess
import sys

import pytest

from hfbiasedit import startup
from hfbiasedit.startup import Waiting, settled, starting

COMPILER = '''
from . import deep
ran = []
def disable(fn=None, recursive=True, *, reason=None):
    if fn is None:
        return lambda fn: disable(fn, recursive, reason=reason)
    ran.append((fn.__name__, recursive, reason))
    return lambda *args: ("marked", fn(*args))
def solve(x, *, twice=False):
    """Solves."""
    return 2 * x if twice else x
class Kind: pass
'''


@pytest.fixture
def heavy(tmp_path, monkeypatch):
    """The name of a package that is to wait, with `disable` a mark and `solve` a function."""
    folder = tmp_path / "heavy_one"
    folder.mkdir()
    (folder / "__init__.py").write_text(COMPILER)
    (folder / "deep.py").write_text("number = 7\n")
    monkeypatch.syspath_prepend(tmp_path)
    known = {"disable": startup._mark, "solve": startup._called}
    monkeypatch.setitem(startup.DEFERRED, "heavy_one", known)
    yield "heavy_one"
    for name in ("heavy_one", "heavy_one.deep"):
        sys.modules.pop(name, None)


def waiting(name):
    with starting():
        module = importlib.import_module(name)
    assert type(module) is Waiting
    return module


def test_a_function_runs_its_module_when_it_is_called_and_not_before(heavy):
    module = waiting(heavy)
    solve = module.solve
    assert type(module) is Waiting
    assert solve(3, twice=True) == 6
    assert type(module) is not Waiting
    assert module is sys.modules[heavy]
    assert module.solve.__doc__ == "Solves."


def test_what_is_not_known_runs_the_module(heavy):
    module = waiting(heavy)
    assert module.Kind().__class__.__name__ == "Kind"
    assert type(module) is not Waiting
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_a_part_of_a_package_has_it_run_first(heavy):
    with starting():
        module = importlib.import_module(heavy)
        assert type(module) is Waiting
        from heavy_one.deep import number
    assert number == 7
    assert module.ran == []
    assert type(module) is not Waiting


def test_a_part_of_a_package_has_it_run_first_after_the_block_too(heavy):
    module = waiting(heavy)
    from heavy_one.deep import number

    assert number == 7
    assert type(module) is not Waiting


def test_a_part_that_needs_nothing_leaves_its_package_waiting(heavy, monkeypatch):
    monkeypatch.setattr(startup, "_PARTS", ("heavy_one.deep",))
    with starting():
        module = importlib.import_module(heavy)
        from heavy_one.deep import number
    assert number == 7
    assert type(module) is Waiting
    from heavy_one import Kind

    assert Kind.__module__ == heavy


def test_a_mark_is_made_when_its_module_has_run(heavy):
    module = waiting(heavy)

    @module.disable
    def first(x):
        """First."""
        return x + 1

    @module.disable(recursive=False, reason="why")
    def second(x):
        return x + 2

    assert (first(1), second(1)) == (2, 3)
    assert type(module) is Waiting
    assert first.__doc__ == "First."
    assert module.ran == []
    assert (first(1), second(1), second(1)) == (("marked", 2), ("marked", 3), ("marked", 3))
    assert module.ran == [("first", True, None), ("second", False, "why")]


def test_a_mark_on_a_method_gets_the_object(heavy):
    module = waiting(heavy)

    class Thing:
        @module.disable
        def own(self):
            return self

    thing = Thing()
    assert thing.own() is thing


def test_a_module_that_fails_goes_on_waiting_and_says_why(heavy, tmp_path):
    file = tmp_path / heavy / "__init__.py"
    file.write_text("raise RuntimeError('broken')\n")
    module = waiting(heavy)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broken"):
            module.Kind  # noqa: B018
        assert type(module) is Waiting


def test_looking_around_runs_nothing(heavy):
    module = waiting(heavy)
    assert not hasattr(module, "__wrapped__")
    assert module.__spec__.name == heavy
    assert module.__file__.endswith("__init__.py")
    assert type(module) is Waiting


def test_outside_of_the_block_modules_run_at_once(heavy):
    before = list(sys.meta_path)
    with starting():
        pass
    assert sys.meta_path == before
    assert type(importlib.import_module(heavy)) is not Waiting


def test_the_collector_waits_until_all_is_imported_or_the_command_ends():
    usual = gc.get_threshold()
    with starting():
        assert gc.get_threshold()[0] > usual[0]
        settled()
        assert gc.get_threshold() == usual
        settled()
    assert gc.get_threshold() == usual
    with pytest.raises(ValueError, match="x"), starting():
        raise ValueError("x")
    assert gc.get_threshold() == usual


def test_outside_of_a_command_nothing_is_kept_from_the_collector():
    gc.unfreeze()
    settled()
    assert gc.get_freeze_count() == 0


# What an audit of a local model has no use for; the last two are what runs of those that wait.
UNUSED = (
    "datasets", "pandas", "pyarrow", "matplotlib", "sklearn", "torchao", "jupyter", "lm_eval",
    "torch._dynamo.symbolic_convert", "scipy.optimize._optimize",
)  # fmt: skip


def test_a_cold_audit_imports_only_what_it_uses_and_what_waited_still_works():
    code = (
        "import sys\nfrom hfbiasedit.cli.app import main\n"
        "sys.argv = ['hfbiasedit', 'audit', 'demo', '--limit', '4', '--format', 'quiet']\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print([name for name in {UNUSED!r} if name in sys.modules])\n"
        "import numpy, torch\n"
        "from scipy.optimize import linear_sum_assignment\n"
        "print(linear_sum_assignment(numpy.array([[4, 1], [2, 8]]))[1].tolist())\n"
        "from transformers.integrations.flex_attention import WrappedFlexAttention\n"
        "print(torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)).item())\n"
        "print(torch._dynamo.is_compiling(), type(torch._dynamo).__name__)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-4:] == ["[]", "[1, 0]", "2.0", "False module"]
