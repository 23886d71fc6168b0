"""Figures, readable with hundreds of professions and for colour-blind readers."""
