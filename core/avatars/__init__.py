"""A registered source: what it holds, how it is found, stored on disk and fitted to a run."""
