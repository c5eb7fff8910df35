"""The official files: what the download consists of, and the engines that are built from its ONNX files."""
