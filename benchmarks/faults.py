"""What a command says of a fault, after how many seconds, and what it leaves behind.

    python benchmarks/faults.py [--write docs/trouble.md] [--only edit]

The table is printed, or put between the marks `faults: begin` and `faults: end` of a page.

Every case is a process of its own in an empty directory. Seconds are from the start of the process
to its end (to the end after the signal where one is sent), less those that `hfbiasedit --version`
takes; processor seconds beside them do not depend on what else the machine does. Cases marked
"Hub" talk to a server of this machine that fails in the way named.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"
MODEL = str(ROOT / "hfbiasedit" / "demo_model")


@dataclass
class Case:
    """One command and one fault; `{hub}` stands for the server's address."""

    command: str
    fault: str
    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    signal: int | None = None
    after: str = ""  # the signal is sent when this was said
    server: list[dict[str, object]] = field(default_factory=list)


@dataclass
class Result:
    """What came of a case."""

    status: int
    said: str
    seconds: float
    processor: float
    left: list[str]


def cases() -> list[Case]:
    """All of them, in the order of the table."""
    found = []
    runs = {"audit": [], "locate": [], "edit": [], "sweep": [], "ability": []}
    for command, more in runs.items():
        found.append(Case(command, "`--out` below a file", [MODEL, "--out", "file/out", *more]))
    for command in ("audit", "locate", "edit", "sweep"):
        found.append(Case(command, "`--out` is a file", [MODEL, "--out", "file"]))
        found.append(Case(command, "`--prompts` missing", [MODEL, "--prompts", "absent.jsonl"]))
        found.append(
            Case(command, "half a character in `--prompts`", [MODEL, "--prompts", "half.jsonl"])
        )
    found += [
        Case("audit", "half a character in `--prompts`", [MODEL, "--prompts", "half.jsonl"]),
        Case("edit", "`--out` holds other files", [MODEL, "--out", "precious"]),
        Case("edit", "nothing to `--resume`", [MODEL, "--resume"]),
        Case("sweep", "nothing to `--resume`", [MODEL, "--out", "new", "--resume"]),
        Case("audit", "nothing to `--resume`", [MODEL, "--resume"]),
        Case("edit", "`--granularity` misspelt", [MODEL, "--granularity", "rwo"]),
        Case("audit", "`--config` misspelt", [MODEL, "--config", "quik"]),
        Case("edit", "`--selection` missing", [MODEL, "--selection", "absent.json"]),
        Case("edit", "`--anchor` missing", [MODEL, "--anchor", "absent"]),
        Case("locate", "`--blocks` beyond the model", [MODEL, "--blocks", "99"]),
        Case("audit", "`--patch` missing", [MODEL, "--patch", "absent.safetensors"]),
        Case("ability", "`--patch` missing", [MODEL, "--patch", "absent.safetensors"]),
        Case("audit", "model missing", ["./absent"]),
        Case("patch apply", "`--out` holds other files", [MODEL, "p", "--out", "precious"]),
        Case("patch show", "patch damaged", ["damaged.safetensors"]),
        Case("patch recover", "nothing to recover", ["precious"]),
        Case("card", "no run", ["precious"]),
        Case("card", "`edit.json` damaged", ["run"]),
        Case("push", "`edit.json` damaged", ["run", "me/repo", "--what", "patch"]),
        Case("audt", "command misspelt", []),
        Case("edit", "SIGTERM while measuring", [MODEL], signal=signal.SIGTERM, after="measuring"),
        Case("edit", "Ctrl-C while measuring", [MODEL], signal=signal.SIGINT, after="measuring"),
        Case("edit", "kill -9 while measuring", [MODEL], signal=signal.SIGKILL, after="measuring"),
    ]
    hub = {"HF_ENDPOINT": "{hub}", "HF_HUB_OFFLINE": "0"}
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    pull = ["acme/model"]
    info = "/api/models/acme/model"
    found += [
        Case("audit", "Hub: not there", pull, hub),
        Case("audit", "Hub: `HF_ENDPOINT` is no address", pull, hub | {"HF_ENDPOINT": "nonsense"}),
        Case("audit", "Hub: nobody listens", pull, nowhere),
        Case("audit", "Hub: odd characters in the token", pull, hub | {"HF_TOKEN": "hf_\u00e9"}),
        Case("audit", "Hub: a page of HTML", pull, hub, server=[
            {"path": info, "status": 200, "times": 99, "body": b"<html>",
             "headers": {"Content-Type": "text/html"}}]),
        Case("audit", "Hub: 500 for ever", pull, hub, server=[
            {"path": info, "status": 500, "times": 999}]),
        Case("audit", "Hub: a connection dropped once", pull, hub, server=[
            {"path": info, "drop": True}]),
        Case("audit", "Hub: no answer, once", pull, hub, server=[{"path": info, "delay": 30.0}]),
    ]  # fmt: skip
    return found


def prepare(folder: Path) -> None:
    """The files that the cases name."""
    (folder / "file").write_text("x")
    (folder / "precious").mkdir()
    (folder / "precious" / "mine").write_text("x")
    (folder / "half.jsonl").write_text('{"prompt": "\\ud800", "profession": "nurse"}\n')
    (folder / "damaged.safetensors").write_bytes(b"\xff" * 64)
    from tests.reports import fixtures

    run = fixtures.write_run(folder / "run", fixtures.documents(12))
    (run / "edit.json").write_text('{"schema": "hfbiasedit.ed')


def environment(case: Case, folder: Path, hub: str) -> dict[str, str]:
    """Nothing of the user's own: no token, an empty cache, offline unless the case says not."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    given = {name: value.replace("{hub}", hub) for name, value in case.environment.items()}
    own = {"HF_HOME": str(folder / ".home"), "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_XET": "1"}
    return kept | own | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"} | given


def execute(case: Case, hub: str, idle: float, limit: float) -> Result:
    """Run a case in a directory of its own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        before = set(folder.rglob("*"))
        errors = folder.parent / f"{folder.name}.errors"
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        start = time.monotonic()
        with open(errors, "w+") as stream:
            child = subprocess.Popen(
                [sys.executable, "-m", "hfbiasedit", *case.command.split(), *case.arguments],
                cwd=folder,
                env=environment(case, folder, hub),
                stdout=subprocess.DEVNULL,
                stderr=stream,
                stdin=subprocess.DEVNULL,
            )
            if case.signal is not None:
                while case.after not in errors.read_text() and child.poll() is None:
                    time.sleep(0.05)
                time.sleep(3)
                start, idle = time.monotonic(), 0.0
                child.send_signal(case.signal)
            try:
                status = child.wait(limit)
            except subprocess.TimeoutExpired:
                child.kill()
                status = child.wait()
        seconds = time.monotonic() - start - idle
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = [line for line in errors.read_text().splitlines() if line.strip()]
        errors.unlink()
        made = {p for p in set(folder.rglob("*")) - before if ".home" not in p.parts}
        left = sorted(str(p.relative_to(folder)) for p in made if p.parent == folder)
        said = lines[-1] if lines else ""
        for place in (str(folder), MODEL, hub):
            said = said.replace(place, "\u2026")
        processor = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
        return Result(status, said, max(seconds, 0.0), processor, left)


def table(rows: list[tuple[Case, Result]]) -> str:
    """The table for the documentation."""
    lines = [
        "| command | fault | s | processor s | exit | last line | left behind |",
        "|---|---|---|---|---|---|---|",
    ]
    for case, result in rows:
        status = f"signal {-result.status}" if result.status < 0 else str(result.status)
        said = re.sub(r"\s+", " ", result.said).replace("|", "\\|").replace("<", "&lt;")
        left = ", ".join(f"`{name}`" for name in result.left) or "nothing"
        lines.append(
            f"| `{case.command}` | {case.fault} | {result.seconds:.1f} | {result.processor:.1f} "
            f"| {status} | {said} | {left} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the cases and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", help="command, or a word of the fault")
    parser.add_argument("--write", type=Path, help="put the table between the marks of this file")
    parser.add_argument("--limit", type=float, default=240.0, help="seconds per case")
    chosen = parser.parse_args()
    from tests.hub_server import HubServer
    from tests.hub_server.faults import Fault

    started = time.monotonic()
    subprocess.run([sys.executable, "-m", "hfbiasedit", "--version"], cwd=ROOT, capture_output=True)
    idle = time.monotonic() - started
    rows = []
    with HubServer() as hub:
        for case in cases():
            if chosen.only and chosen.only not in f"{case.command} {case.fault}":
                continue
            hub.faults.clear()
            if case.server:
                weights = Path(MODEL).iterdir()
                files = {p.name: p.read_bytes() for p in weights if p.suffix == ".json"}
                hub.create_repo("acme/model", files)
            for fault in case.server:
                hub.faults.add(Fault(**fault))
            rows.append((case, execute(case, hub.url, idle, chosen.limit)))
            hub.repositories.clear()
            print(table(rows[-1:]).splitlines()[-1], flush=True)
    text = table(rows)
    if chosen.write is not None:
        page = chosen.write.read_text()
        before, _, rest = page.partition(BEGIN)
        chosen.write.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    if shutil.which("sh") is None:
        sys.exit("needs a POSIX system")
    main()
