"""File jobs: one recording into one video, and many of them from a jobs file, over processes or Ray."""
