"""Shared by all tests: one thread per process, no network, no token, a fixed terminal width."""

from __future__ import annotations

import os
import signal

# Read by huggingface_hub and torch at import, so they are set before anything is imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_XET"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.pop("HF_TOKEN", None)

import pytest

# Programs that tests start and send signals to inherit what is ignored here (under `nohup`, and in
# the background of a shell script).
for _name, _usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    _number = getattr(signal, _name, None)
    if _number is not None and signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _usual)


def pytest_addoption(parser):
    """`--real DIR`: the checkpoint that the tests marked `real` are run with."""
    known = os.environ.get("HFBIASEDIT_REAL")
    parser.addoption("--real", metavar="DIR", default=known, help="checkpoint for tests/real")


def pytest_collection_modifyitems(config, items):
    """Without a checkpoint there is nothing to run the tests marked `real` with."""
    if config.getoption("--real") is None:
        left_out = [item for item in items if item.get_closest_marker("real")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def real_checkpoint(request):
    """The directory that `--real` names."""
    return request.config.getoption("--real")


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch, tmp_path_factory):
    """Every test runs with an empty Hub cache, no token and a terminal of 120 columns."""
    home = tmp_path_factory.mktemp("hf_home")
    monkeypatch.setenv("HF_HOME", str(home))
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(autouse=True)
def _board_of_its_own():
    """Every test begins as a program does, not in the silence since an earlier one spoke."""
    from hfbiasedit import console

    console.board.cache_clear()


@pytest.fixture
def one_figure(monkeypatch):
    """Runs are drawn as one figure: for tests of something else, since all take seconds."""
    from hfbiasedit.figures import run

    monkeypatch.setattr(run, "FIGURES", {"groups": run.FIGURES["groups"]})


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    import torch

    torch.set_num_threads(1)
