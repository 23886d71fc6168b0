"""What a row is called, wherever it is shown."""

from __future__ import annotations

from hfbiasedit.documents.structures.leaderboard_document import BoardRow


def shown_name(row: BoardRow) -> str:
    """The model's name; of an edited one with the granularity, else with the patch."""
    if row["patch"] is None:
        return row["name"]
    if row["edit"] is not None:
        return f"{row['name']} ({row['edit']['granularity']} edit)"
    return f"{row['name']} + patch {row['patch'][:7]}"
