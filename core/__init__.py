"""The talking-head pipeline: see core/sdk.py for the public surface."""
