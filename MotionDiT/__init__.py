"""Training of the motion diffusion network. Start with train.py; docs/training.md is the manual."""
