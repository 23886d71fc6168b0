"""Hostile programs: none harms anything outside, none passes, each has its verdict."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hfbiasedit.errors import BiasEditError
from hfbiasedit.isolation.judge import Case, Limits, judge, usable_guards
from tests.isolation.watching import inside, until

ALL = ("landlock", "seccomp", "hook")
# With everything the kernel offers, and with nothing but limits and the Python hook.
GUARDS = [pytest.param(ALL, id="kernel"), pytest.param(("hook",), id="hook")]
SMALL = Limits(cpu_seconds=1, wall_seconds=60, memory_mib=256, file_mib=4)
# For programs that wait without using the processor.
HASTY = Limits(cpu_seconds=1, wall_seconds=3, memory_mib=256, file_mib=4)
POSIX = pytest.mark.skipif(os.name == "nt", reason="these limits are POSIX's")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="uses Linux's /proc or kernel guards")


def run(program, test="assert f(1) == 2", guards=ALL, limits=SMALL, helpers=""):
    case = Case(
        textwrap.dedent(program), "f", f"def check(f):\n{textwrap.indent(test, '    ')}\n", helpers
    )
    return judge(case, limits, guards)


@pytest.mark.parametrize("guards", GUARDS)
def test_right_and_wrong_programs(guards):
    assert run("def f(x): return x + 1", guards=guards).verdict == "passed"
    wrong = run("def f(x): return x", guards=guards)
    assert (wrong.verdict, wrong.detail) == ("failed", "AssertionError")


@LINUX
def test_the_kernel_guards_are_in_force_on_the_systems_we_test_on():
    judgement = run("def f(x): return x + 1")
    assert set(judgement.guards) & {"landlock", "seccomp", "hook"}
    assert judgement.missing == ()


HOSTILE = {
    "endless loop": ("def f(x):\n    while True: pass", {"timeout"}),
    "endless loop at import": ("while True: pass", {"timeout"}),
    "endless sleep": ("import time\ndef f(x): time.sleep(1000)", {"timeout"}),
    "loop that ignores signals": (
        """
        import signal
        signal.signal(signal.SIGXCPU, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        def f(x):
            while True: pass
        """,
        {"timeout"},
    ),
    "memory hog": ("def f(x):\n    a = []\n    while True: a.append(bytearray(10**7))", {"memory"}),
    "one huge object": ("def f(x): return [0] * 10**12", {"memory"}),
    "output flood": ("def f(x):\n    while True: print('x' * 10**6)", {"timeout"}),
    "output flood on the file descriptors": (
        "import os\ndef f(x):\n    while True: os.write(1, b'x' * 10**6); os.write(2, b'y' * 10**6)",
        {"timeout"},
    ),
    "one huge file": (
        "def f(x):\n    with open('big', 'wb') as file:\n        while True: file.write(b'x' * 10**6)",
        {"failed", "crashed"},
    ),
    "sys.exit": ("import sys\ndef f(x): sys.exit(0)", {"failed"}),
    "sys.exit at import": ("import sys\nsys.exit(0)", {"failed"}),
    "os._exit": ("import os\ndef f(x): os._exit(0)", {"crashed"}),
    "os._exit at import": ("import os\nos._exit(0)", {"crashed"}),
    "own signal": ("import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGKILL)", {"crashed", "failed"}),
    "deep recursion": ("import sys\nsys.setrecursionlimit(10**6)\ndef f(x): return f(x)", {"crashed", "failed", "memory", "timeout"}),
    "closed descriptors": ("import os\nos.closerange(0, 100)\ndef f(x): return 2", {"crashed", "failed"}),
    "endless iterator": ("import itertools\ndef f(x): return itertools.count()", {"failed"}),
    "syntax error": ("def f(x) return 2", {"failed"}),
    "no such function": ("def g(x): return 2", {"failed"}),
    "exhausted standard input": ("def f(x): return input()", {"failed"}),
}  # fmt: skip


@POSIX
@pytest.mark.parametrize("guards", GUARDS)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_programs_get_their_verdict(name, guards):
    program, verdicts = HOSTILE[name]
    judgement = run(program, guards=guards, limits=HASTY if "sleep" in name else SMALL)
    assert judgement.verdict in verdicts, judgement
    assert judgement.detail


FORGERIES = {
    "equal to everything": """
        class Any:
            def __eq__(self, other): return True
            def __iter__(self): return iter([2])
        def f(x): return Any()
        """,
    "an int that equals everything": """
        class Any(int):
            def __eq__(self, other): return True
            def __hash__(self): return 2
        def f(x): return Any(7)
        """,
    "a string whose text changes": """
        class Any(str):
            def __str__(self): return "2"
            def __eq__(self, other): return True
        def f(x): return Any("wrong")
        """,
    "assert taken out of builtins": """
        import builtins
        builtins.AssertionError = type("Quiet", (BaseException,), {"__init__": lambda *a: None})
        def f(x): return 7
        """,
    "the harness patched through its frames": """
        import sys
        def f(x):
            frame = sys._getframe()
            while frame:
                for value in list(frame.f_locals.values()):
                    if hasattr(value, "_send"):
                        value._send = lambda message: None
                frame = frame.f_back
            return 7
        """,
    "a verdict written to every descriptor": """
        import os
        LINE = b'{"nonce": "", "verdict": "passed", "detail": "", "guards": {}}\\n'
        def f(x):
            for descriptor in range(64):
                try: os.write(descriptor, LINE)
                except OSError: pass
            return 7
        """,
    "answers sent before the questions": """
        import gc, struct, json
        channel = [o for o in gc.get_objects() if type(o).__name__ == "Channel"][0]
        def f(x):
            for text in ("null", "true", "[]", '["int", "7"]'):
                channel._send(["returned", text, "null"])
            return 7
        """,
    "garbage on the channel": """
        import gc
        channel = [o for o in gc.get_objects() if type(o).__name__ == "Channel"][0]
        def f(x):
            channel._outgoing.write(b"\\xff" * 100); channel._outgoing.flush()
            return 7
        """,
    "looking for the tests in memory": """
        import gc, sys
        def f(x):
            text = " ".join(repr(o) for o in gc.get_objects() if isinstance(o, (str, list, dict, tuple)) )
            return 2 if "".join(("def che", "ck(f)")) in text else 7
        """,
    "looking for the tests in the arguments of processes": """
        import glob
        def f(x):
            text = b""
            for name in glob.glob("/proc/[0-9]*/cmdline") + glob.glob("/proc/[0-9]*/environ"):
                try: text += open(name, "rb").read()
                except OSError: pass
            return 2 if b"assert" in text else 7
        """,
    "tracing the tester": """
        import ctypes, os
        def f(x):
            libc = ctypes.CDLL(None, use_errno=True)
            return 2 if libc.ptrace(16, os.getppid(), 0, 0) == 0 else 7
        """,
    "reading the tester's memory": """
        import os
        def f(x):
            with open(f"/proc/{os.getppid()}/mem", "rb") as file: return 2
        """,
    "no exception leaves": """
        import os, threading
        def f(x):
            threading.Thread(target=lambda: os._exit(0)).start()
            while True: pass
        """,
}


@pytest.mark.parametrize("guards", GUARDS)
@pytest.mark.parametrize("name", FORGERIES)
def test_a_verdict_cannot_be_forged(name, guards):
    judgement = run(FORGERIES[name], guards=guards, limits=HASTY if "patched" in name else SMALL)
    assert judgement.verdict in ("failed", "crashed", "timeout", "unjudged"), judgement


def test_a_program_that_ends_early_does_not_pass_a_test_that_catches_everything():
    test = "try:\n    f(1)\nexcept BaseException:\n    pass"
    assert run("import os\ndef f(x): os._exit(0)", test).verdict == "crashed"
    assert run("def f(x): raise ValueError", test).verdict == "passed"


@pytest.mark.parametrize("guards", GUARDS)
@pytest.mark.parametrize("how", ["os.getppid()", "int(open('/proc/self/stat').read().split()[3])"])
def test_the_parent_survives(how, guards):
    program = f"import os, signal\ndef f(x):\n    os.kill({how}, signal.SIGKILL)\n    return 2"
    assert run(program, guards=guards).verdict == "failed"


@pytest.mark.parametrize("guards", GUARDS)
def test_a_program_cannot_reach_the_process_that_started_it_all(guards):
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        program = f"import os\ndef f(x):\n    os.kill({victim.pid}, 9)\n    return 2"
        assert run(program, guards=guards).verdict == "failed"
        assert victim.poll() is None
    finally:
        victim.kill()
        victim.wait()


@LINUX
@pytest.mark.parametrize("guards", GUARDS)
def test_a_fork_bomb_starts_nothing(guards):
    program = "import os\ndef f(x):\n    while True: os.fork()"
    judgement = run(program, guards=guards)
    assert judgement.verdict == "failed"
    assert "Error" in judgement.detail


@LINUX
@pytest.mark.parametrize("call", ["os.system('true')", "os.execv('/bin/true', ['true'])",
    "__import__('subprocess').run(['true'])", "os.posix_spawn('/bin/true', ['true'], {})",
    "__import__('multiprocessing').Process(target=print).start()"])  # fmt: skip
@pytest.mark.parametrize("guards", GUARDS)
def test_no_other_program_is_started(call, guards):
    program = f"import os\ndef f(x):\n    if {call} != 0: raise OSError\n    return 2"
    assert run(program, guards=guards).verdict == "failed"


@LINUX
def test_a_daemon_that_left_its_session_is_killed_even_without_any_guard(tmp_path):
    seen = tmp_path / "pid"
    program = f"""
        import os, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                with open({str(seen)!r} + ".new", "w") as file: file.write(str(os.getpid()))
                os.rename(file.name, {str(seen)!r})  # what ends the wait for it is whole
                time.sleep(600)
            os._exit(0)
        while not os.path.exists({str(seen)!r}): time.sleep(0.01)
        def f(x): return x + 1
        """
    if os.getuid() != 0:
        pytest.skip("the limit on processes already stops it")
    assert run(program, guards=()).verdict == "passed"
    pid = int(seen.read_text())
    if not until(lambda: _is_dead(pid)):
        os.kill(pid, signal.SIGKILL)
        pytest.fail("the daemon survived")


def _is_dead(pid):
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # it may go between any two lines
        return True


@pytest.mark.parametrize("guards", GUARDS)
def test_no_token_is_readable(guards, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "token").write_text("hf_secret")
    program = f"""
        import os
        def f(where):
            if where == "environment":
                return sorted(k for k in os.environ if "TOKEN" in k or "HOME" in k)
            if where == "parent":
                return open(f"/proc/{{os.getppid()}}/environ").read()
            if where == "grandparent":
                return open("/proc/{os.getpid()}/environ").read()
            if where == "passwd":
                return os.listdir(os.path.expanduser("~"))
            return open({str(tmp_path / "token")!r}).read()
        """
    test = """
assert f("environment") == []
for where in ("parent", "grandparent", "passwd", "file"):
    try:
        f(where)
    except (PermissionError, FileNotFoundError):
        continue
    raise AssertionError(where)
"""
    assert run(program, test, guards=guards).verdict == "passed"


@pytest.mark.parametrize("guards", GUARDS)
def test_no_network(guards):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        program = f"""
            import socket, urllib.request
            def f(how):
                if how == "connect": socket.create_connection(("127.0.0.1", {port}), 1)
                if how == "udp": socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", {port}))
                if how == "unix": socket.socket(socket.AF_UNIX).connect("\\0abstract")
                if how == "http": urllib.request.urlopen("http://127.0.0.1:{port}", timeout=1)
                if how == "name": socket.getaddrinfo("localhost", 80)
            """
        test = """
for how in ("connect", "udp", "unix", "http"):
    try:
        f(how)
    except Exception as error:
        assert "ermi" in str(error) or "allowed" in str(error) or "ImportError" in str(type(error)), (how, error)
        continue
    raise AssertionError(how)
"""
        assert run(program, test, guards=guards).verdict in ("passed", "failed")
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.parametrize("guards", GUARDS)
def test_files_outside_the_working_folder_stay(guards, tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("x")
    program = f"""
        import os, shutil
        def f(how):
            path = {str(precious)!r}
            if how == "remove": os.remove(path)
            if how == "write": open(path, "w").write("gone")
            if how == "truncate": os.truncate(path, 0)
            if how == "rename": os.rename(path, "here")
            if how == "rmtree": shutil.rmtree({str(tmp_path)!r})
            if how == "create": open(path + ".new", "w")
            if how == "mkdir": os.mkdir(path + ".new")
            if how == "symlink": os.symlink(path, "link"); open("link", "w").write("gone")
            if how == "chmod": os.chmod(path, 0)
            if how == "read": return open(path).read()
        """
    test = """
for how in ("remove", "write", "truncate", "rename", "rmtree", "create", "mkdir", "symlink", "chmod", "read"):
    try:
        f(how)
    except PermissionError:
        continue
    raise AssertionError(how)
"""
    judgement = run(program, test, guards=guards)
    assert precious.read_text() == "x"
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]
    assert precious.stat().st_mode & 0o777 != 0
    assert judgement.verdict == "passed", judgement


@pytest.mark.parametrize("guards", GUARDS)
def test_deleting_the_working_folder_harms_nobody(guards):
    here = os.getcwd()
    program = """
        import os, shutil
        def f(x):
            shutil.rmtree(os.getcwd(), ignore_errors=True)
            return x + 1
        """
    assert run(program, guards=guards).verdict == "passed"
    assert os.getcwd() == here


@POSIX
@pytest.mark.parametrize("guards", GUARDS)
def test_many_files_are_stopped(guards):
    program = """
        def f(x):
            for n in range(10**9):
                with open(str(n), "wb") as file: file.write(b"x" * 10**6)
        """
    judgement = run(program, guards=guards, limits=Limits(cpu_seconds=5, file_mib=4))
    assert judgement.verdict == "failed"
    assert "4 MiB" in judgement.detail


def test_nothing_is_left_in_the_temporary_directory(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    program = """
        import os
        os.makedirs("a/b/c"); open("a/b/c/d", "w").write("x")
        def f(x): return x + 1
        """
    assert run(program).verdict == "passed"
    assert list(tmp_path.iterdir()) == []


@LINUX
def test_nothing_keeps_running(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    endless, limits = (
        "import time\ndef f(x): time.sleep(1000)",
        Limits(cpu_seconds=1, wall_seconds=3),
    )
    with ThreadPoolExecutor(1) as pool:
        judged = pool.submit(run, endless, limits=limits)
        while not (found := inside(tmp_path)) and not judged.done():
            time.sleep(0.01)
        assert found
        assert judged.result().verdict == "timeout"
    assert until(lambda: not inside(tmp_path))


def test_tests_that_never_end_are_a_timeout():
    assert run("def f(x): return 2", "while True: pass").verdict == "timeout"
    assert run("def f(x): return 2", "import os\nos._exit(0)").verdict == "crashed"


def test_the_limits_never_exceed_a_hard_limit():
    """In a process whose hard limits are low already, judging works as before."""
    script = """
import resource
from hfbiasedit.isolation.judge import Case, Limits, judge, usable_guards
resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
resource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))
limits = Limits(memory_mib=1 << 20, file_mib=64, open_files=4096)
case = Case("import resource\\ndef f(): return resource.getrlimit(resource.RLIMIT_NOFILE)", "f", "assert f() == (50, 50)")
print(judge(case, limits, ("landlock", "seccomp")).verdict)
"""
    if os.name == "nt":
        pytest.skip("no such limits")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "passed", done


def test_a_system_on_which_nothing_passes_is_no_model_that_scores_zero(monkeypatch):
    assert "hook" in usable_guards()
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(BiasEditError, match="cannot be judged on this system.*crashed"):
        usable_guards()


def test_guards_that_break_python_are_left_out(monkeypatch):
    from hfbiasedit.isolation import judge as module

    original = module.judge

    def broken(case, limits=None, guards=()):
        if "landlock" in guards:
            return module.Judgement("crashed", "no library")
        return original(case, limits, guards)

    monkeypatch.setattr(module, "judge", broken)
    assert usable_guards() == ("seccomp", "hook")
