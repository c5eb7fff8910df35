"""Shape of the speech condition: neighbouring windows, rows of speech logits in each, logits in each row."""

WINDOWS, WINDOW, LOGITS = 8, 16, 29
