"""Programming problems: reading, solving, judging."""
