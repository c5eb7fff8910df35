"""Options of a run and configuration files: their types, ranges, presets, timelines and safe reading."""
