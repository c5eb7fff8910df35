"""Measuring talking-head videos: what `scripts/evaluate.py` reports."""
