"""One run: the stages that a source, speech and options ask for, and the file that comes out."""
