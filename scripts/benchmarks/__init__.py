"""What benchmark.py measures, one file per subject. Each gives rows: what -> number, whose unit the name says."""
