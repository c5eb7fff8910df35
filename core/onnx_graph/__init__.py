"""Passes over ONNX graphs: volumetric sampling without a plugin, and half precision (spec models.md 13)."""
