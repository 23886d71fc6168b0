"""The root command: help, versions, errors as one line, exit statuses, lazy imports."""

import errno
import importlib
import inspect
import os
import signal
import subprocess
import sys
import time

import pytest

from hfbiasedit.cli import app as cli
from hfbiasedit.errors import BiasEditError, GateNotMet, UsageError

HEAVY = ("torch", "transformers", "datasets", "huggingface_hub", "matplotlib", "numpy", "jinja2")


def run(*arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "hfbiasedit", *arguments], capture_output=True, text=True, **kwargs
    )


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = (
        "import sys\nfrom hfbiasedit.cli.app import main\nsys.argv = ['hfbiasedit', '--help']\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code == 0, stop.code\n"
        f"print('HEAVY', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.rstrip().endswith("HEAVY []"), done.stdout + done.stderr
    for command in cli.COMMANDS:
        assert f"\n  {command} " in done.stdout


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_command_explains_itself(command):
    done = run(command, "--help")
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_the_list_of_commands_says_what_the_commands_say(command):
    module = importlib.import_module(f"hfbiasedit.cli.{command}")
    group = getattr(module, "app", None)
    text = group.info.help if group else inspect.getdoc(getattr(module, command))
    assert " ".join(text.split("\n\n")[0].split()) == cli.COMMANDS[command]


def test_version():
    done = run("--version")
    assert done.stdout == f"hfbiasedit {cli.__version__}\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["audit"], ["audit", "x", "--nonsense"]])
def test_wrong_usage_exits_2_without_a_traceback(arguments):
    done = run(*arguments)
    assert done.returncode == 2
    assert "Error" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("error", "text", "status"),
    [
        (BiasEditError("no\nsuch  model"), "error: no such model\n", 1),
        (UsageError("wrong"), "error: wrong\n", 2),
        (GateNotMet("too high"), "error: too high\n", 3),
        (OSError(errno.ENOSPC, "No space left", "/x/y"), "error: the disk is full (/x/y)", 1),
        (PermissionError(errno.EACCES, "denied", "/x"), "error: no permission to write", 1),
        (FileNotFoundError(errno.ENOENT, "No such file", "a"), "error: No such file (a)\n", 1),
        (MemoryError(), "error: out of memory", 1),
        (RuntimeError("first\nsecond"), "error: RuntimeError: first (--debug", 1),
    ],
)
def test_every_failure_is_one_line_with_its_status(monkeypatch, capsys, error, text, status):
    def fail():
        raise error

    monkeypatch.setattr(cli, "app", fail)
    monkeypatch.delenv("HFBIASEDIT_DEBUG", raising=False)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    output = capsys.readouterr()
    assert stop.value.code == status
    assert output.err.startswith(text)
    assert output.err.count("\n") == 1
    assert output.out == ""


def test_debug_shows_the_traceback(tmp_path):
    missing = str(tmp_path / "nowhere")
    assert "Traceback" not in run("card", missing).stderr
    assert "Traceback" in run("--debug", "card", missing).stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_ends_with_130_and_a_word():
    code = (
        "import hfbiasedit.cli.app as cli, time\n"
        "@cli.app.command('sleep')\ndef sleep():\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "import sys; sys.argv = ['hfbiasedit', 'sleep']\ncli.main()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=30)
    assert child.returncode == 130
    assert errors == "interrupted\n"
