"""What the command-line programs share: parsers, groups of flags, exit codes."""
