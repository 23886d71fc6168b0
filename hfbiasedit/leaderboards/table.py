"""The leaderboard as one Parquet file."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from hfbiasedit.documents.formatting import is_point
from hfbiasedit.documents.structures.leaderboard_document import BoardRow, Leaderboard


def parquet(board: Leaderboard) -> bytes:
    """One row per audit, those that are not comparable included; parts as lists of structs."""
    import pyarrow as pa
    import pyarrow.parquet

    text, number, whole = pa.string(), pa.float64(), pa.int64()
    bounds = [("low", number), ("high", number)]
    part = pa.list_(pa.struct([("name", text), ("fb_score", number), *bounds, ("prompts", whole)]))
    kinds = dict.fromkeys(("comparable", "ahead_clear", "change_clear", "coin_clear"), pa.bool_())
    whole_numbers = ("rank", "parameters", "prompts", "professions", "edited_weights")
    kinds |= dict.fromkeys(whole_numbers, whole)
    kinds |= dict.fromkeys(_PARTS, part)
    kinds |= dict.fromkeys(_TEXTS, text)
    rows = [_flat(row) for row in board["rows"]]
    schema = pa.schema([(name, kinds.get(name, number)) for name in rows[0]])
    sink = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.Table.from_pylist(rows, schema=schema), sink, compression="zstd")
    return bytes(sink.getvalue())


Part: TypeAlias = Literal["by_group", "by_surface", "by_language"]
_PARTS: tuple[Part, ...] = ("by_group", "by_surface", "by_language")
_TEXTS = (
    "reason", "name", "note", "model", "revision", "patch", "base", "architecture", "dtype",
    "quantization", "granularity", "ability_text", "config", "split", "reference",
    "prompts_digest", "version",
)  # fmt: skip


def _flat(row: BoardRow) -> dict[str, Any]:
    """A row with a column for every number; intervals as two columns."""
    model, dataset, ability, edit = row["model"], row["dataset"], row["ability"], row["edit"]
    flat: dict[str, Any] = {
        "rank": row["rank"],
        "comparable": row["reason"] is None,
        "reason": row["reason"],
        "name": row["name"],
        "note": row["note"],
        "model": model["id"],
        "revision": model["revision"],
        "patch": row["patch"],
        "granularity": edit["granularity"] if edit else None,
        "edited_weights": edit["weights"] if edit else None,
        "edited_share": edit["share"] if edit else None,
        "base": row["base"],
        "architecture": model.get("architecture"),
        "parameters": model["parameters"],
        "dtype": model["dtype"],
        "quantization": model.get("quantization"),
        "fb_score": row["fb_score"],
        **_bounds("fb", row["ci95"]),
        "lean": row["lean"],
        **_bounds("lean", row["lean_ci95"]),
        "amplification": row["amplification"],
        **_bounds("amplification", row["amplification_ci95"]),
        "parity_gap": row["parity_gap"],
        "gender_mass": row["gender_mass"],
        "low_mass_share": row["low_mass_share"],
    }
    for key, found in (("coin", row["coin"]), ("ahead", row["ahead"]), ("change", row["change"])):
        flat[key] = found["difference"] if found else None
        flat |= _bounds(key, found["ci95"] if found else None)
        flat[f"{key}_clear"] = found["clear"] if found else None
    flat |= {
        "bits_per_byte": ability["bits_per_byte"],
        "ability_text": ability["text"],
        "pass_at_1": ability["pass_at_1"],
        "config": dataset["config"],
        "split": dataset["split"],
        "reference": dataset["reference"],
        "prompts": dataset["prompts"],
        "professions": dataset["professions"],
        "prompts_digest": row["prompts_digest"],
        "version": row["version"],
    }
    for key in _PARTS:
        flat[key] = [
            {
                "name": one["name"],
                "fb_score": one["fb_score"],
                **dict(zip(("low", "high"), _ends(one["ci95"]), strict=True)),
                "prompts": one["prompts"],
            }
            for one in row[key]
        ]
    return flat


def _bounds(name: str, interval: list[float] | None) -> dict[str, float | None]:
    low, high = _ends(interval)
    return {f"{name}_low": low, f"{name}_high": high}


def _ends(interval: list[float] | None) -> tuple[float | None, float | None]:
    """Both ends; none of an interval that one profession does not have."""
    if interval is None or is_point(interval):
        return None, None
    low, high = interval
    return low, high
