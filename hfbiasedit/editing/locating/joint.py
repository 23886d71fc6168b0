"""The joint solution: which weights the best small edit of the whole model would use, and how much.

Saliency of single weights looks at each alone; a few weights that say the same thing all rank high.
Here all prompts are solved for together, in the space of prompts (`dual`), with every weight of
every projection free to move at the price of general code (`price`), and a weight's score is the
energy of its own move, u_ij^2 F_ij. Two passes over the prompts and one over general code do it:

1. Every prompt's gradient g x^T per matrix is sketched by random projections of both sides to
   SKETCH x SKETCH numbers; inner products of sketches are those of gradients, up to noise that
   averages out over matrices. The dual is solved for folds of the templates, each by itself.
2. One backward pass weighted by the dual is the joint solution's move; of it only sums per row and
   per column are kept, by projecting the other side.

The mean over folds counts. (Geometric means, and what the folds' moves have in common, ranked rows
no better for prompts of templates that were left out.)
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor

from hfbiasedit.console import warn
from hfbiasedit.editing.locating.energies import joint_entries, joint_sums
from hfbiasedit.editing.locating.kept import kept_prices, kept_sums, rows_digest
from hfbiasedit.editing.locating.measured import CONTRASTIVE
from hfbiasedit.editing.locating.method import Evidence, Judgement
from hfbiasedit.editing.locating.solutions import joint_solutions
from hfbiasedit.editing.material.price import PRICED, prices
from hfbiasedit.editing.material.windows import prepare_windows
from hfbiasedit.editing.running.recording import obstacle
from hfbiasedit.texts.anchor import load_anchor


class JointSolution:
    """The saliency of this module."""

    def judge(self, evidence: Evidence) -> Judgement:
        """Solve for all prompts together and see which weights the solution moves.

        A model with other projections than can be recorded is judged by `contrastive` instead.

        Raises:
            BiasEditError: the gradients are zero everywhere, or not finite.
        """
        loaded, items, config = evidence.loaded, evidence.items, evidence.config
        names = [item.name for item in items]
        reason = obstacle(loaded.model, names)
        if reason is not None:
            warn(f"{reason}: ranked by contrastive saliency")
            return replace(CONTRASTIVE.judge(evidence), instead="contrastive")
        windows = prepare_windows(loaded, load_anchor(config.anchor), PRICED, config.seed)
        kept = evidence.kept
        known = kept_prices(kept, lambda: prices(loaded, names, windows, config.seed))
        options: dict[str, Any] = {"checkpoint": config.checkpoint, "kept": kept}
        joint = joint_solutions(loaded, items, evidence.prompts, known, config.seed, **options)
        scores = kept_sums(
            kept, lambda: joint_sums(loaded, items, joint, config.seed, config.checkpoint)
        )

        def entry_scores(pool: dict[str, Tensor]) -> dict[str, Tensor]:
            def entries() -> dict[str, Tensor]:
                return joint_entries(loaded, items, pool, joint, config.checkpoint)

            return kept.tensors(f"entries-{rows_digest(pool)}", entries)

        return Judgement(scores, entry_scores, anywhere=True, prices=known)


JOINT = JointSolution()
