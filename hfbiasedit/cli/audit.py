"""`hfbiasedit audit`: how far from the reference is a model, for whom, and how sure are we."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import typer

from hfbiasedit import console
from hfbiasedit.audits.config import DEFAULT_PARTIAL, AuditConfig
from hfbiasedit.cli.options import JsonOption, ModelArgument
from hfbiasedit.cli.parameters import expanded
from hfbiasedit.errors import UsageError


def check(
    model: str,
    options: AuditConfig,
    fail_above: float | None = None,
    submit: str | None = None,
    **_: Any,
) -> None:
    """Refuse what the command would refuse, as far as options and files tell.

    Raises:
        BiasEditError: an option or a file cannot be used.
    """
    from hfbiasedit.audits.auditor import check_audit

    _check_limits(options, fail_above, submit)
    check_audit(model, options)


def _check_limits(options: AuditConfig, fail_above: float | None, submit: str | None) -> None:
    from hfbiasedit.audits.report import check_limit
    from hfbiasedit.codegenbias.references import BUILTIN_REFERENCES

    if fail_above is not None:
        check_limit(fail_above)
    own = (options.prompts, options.limit, options.professions)
    if submit is not None and (
        own != (None, None, None) or options.reference not in BUILTIN_REFERENCES
    ):
        raise UsageError(
            "--submit takes audits of all prompts of a configuration, against a reference "
            f"that ships ({', '.join(BUILTIN_REFERENCES)})"
        )


@expanded
def audit(
    model: ModelArgument,
    options: AuditConfig,
    fail_above: Annotated[
        float | None,
        typer.Option(help="Exit with status 3 when the FB-Score is above this (0 to 100)."),
    ] = None,
    submit: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="Add the report to this dataset of audits on the Hub, for a leaderboard; a pull "
            "request where you may not write.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the FB-Score of a model: 0 matches the reference, lower is better.

    Compares the share of women among the genders a model writes for people of an occupation with
    the share of women in that occupation. Interrupted, it can be continued with --resume.
    """
    from hfbiasedit import processes
    from hfbiasedit.audits.auditor import audit as run_audit

    _check_limits(options, fail_above, submit)
    submission = None
    if submit is not None:
        from hfbiasedit.audits.sharing.submission import Submission

        submission = Submission(submit)
    if options.out is None:
        options = replace(options, partial=DEFAULT_PARTIAL)
    with processes.together():
        report = run_audit(model, options)
        if processes.rank() != 0:
            return  # one of several processes; the first one writes and speaks
    console.result(report.to_dict()["fb_score"])
    if as_json:
        console.print_json(report.to_dict())
    else:
        from hfbiasedit.audits.table import render

        console.table(render(report.to_dict()))
    for warning in report.warnings:
        console.warn(warning)
    for note in report.notes:
        console.message(note)
    if options.out is not None:
        console.message(f"written to {options.out}")
    if submission is not None:
        sent = submission.send(report.to_dict())
        console.message(f"submitted: {(sent.outcome and sent.outcome.pr_url) or sent.url}")
    if fail_above is not None:
        report.check_gate(fail_above)
