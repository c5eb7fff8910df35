"""Parts of make_random_pack.py: weights, and stand-ins for the face models."""
