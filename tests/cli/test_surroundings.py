"""Streams that cannot take everything, and signals that ask for an end."""

import os
import signal
import subprocess
import sys

import pytest

SAY = """
import sys
import hfbiasedit.cli.app as cli
from hfbiasedit import console
@cli.app.command('say')
def say():
    from rich.table import Table
    table = Table(title='M\\u00fcller \\u2192')
    table.add_column('a')
    table.add_row('\\u4e2d')
    console.table(table)
    console.message('\\u2265 \\u4e2d')
sys.argv = ['hfbiasedit', 'say']
cli.main()
"""
SLEEP = """
import sys, time
import hfbiasedit.cli.app as cli
@cli.app.command('sleep')
def sleep():
    try:
        print('ready', flush=True)
        time.sleep(60)
    finally:
        print('tidied', flush=True)
sys.argv = ['hfbiasedit', 'sleep']
cli.main()
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_what_an_encoding_lacks_is_replaced(encoding):
    done = subprocess.run(
        [sys.executable, "-c", SAY],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    assert ("\u4e2d" if encoding == "utf-8" else "?") in text


@pytest.mark.skipif(os.name == "nt", reason="shell redirections")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_closed_streams_do_not_fail(closed):
    done = subprocess.run(
        ["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, SAY], capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="pipes that end")
def test_a_reader_that_leaves_is_no_traceback():
    done = subprocess.run(
        ["sh", "-c", '"$0" -m hfbiasedit dataset show --json | true', sys.executable],
        capture_output=True,
    )
    assert b"Traceback" not in done.stderr
    assert b"Exception" not in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize(
    ("number", "word"),
    [("SIGTERM", "terminated"), ("SIGHUP", "terminated"), ("SIGINT", "interrupted")],
)
def test_signals_tidy_up_and_say_so(number, word):
    sent = getattr(signal, number)
    child = subprocess.Popen(
        [sys.executable, "-c", SLEEP], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    child.send_signal(sent)
    output, errors = child.communicate(timeout=30)
    assert child.returncode == 128 + sent
    assert output == "tidied\n"
    assert errors == f"{word}\n"


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_what_nohup_ignores_stays_ignored():
    code = SLEEP.replace(
        "import sys, time", "import sys, time, signal\nsignal.signal(1, signal.SIG_IGN)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout.readline() == "ready\n"
    child.send_signal(signal.SIGHUP)
    child.send_signal(signal.SIGTERM)
    child.communicate(timeout=30)
    assert child.returncode == 128 + signal.SIGTERM
