"""The official networks in PyTorch, one per file. They hold tensors only and know nothing of pictures or files."""
