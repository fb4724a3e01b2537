"""Figures: each script prints a table and exits non-zero if a stated ratio or bound is missed."""
