"""Smaller networks: weights in float16, or weights and what flows between layers in int8."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from siamese.errors import BundleError

# Numbers of a tensor from which on it is worth a node that widens it.
_LARGE = 256
_BATCH = 16  # crops that are measured at once


def halved(model: Any) -> Any:
    """Keep large weights in float16, and widen them to float32 when the network is loaded.

    It computes in float32: processors without arithmetic in float16 lose no time, and only weights
    are rounded.

    Args:
        model: ``onnx.ModelProto``.

    Returns:
        another one.

    Raises:
        BundleError: weights beyond the range of float16.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    found = onnx.ModelProto()
    found.CopyFrom(model)
    graph, nodes = found.graph, []
    for number, tensor in enumerate(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _LARGE:
            continue
        with np.errstate(over="ignore"):
            narrow = numpy_helper.to_array(tensor).astype(np.float16)
        if not np.isfinite(narrow).all():
            raise BundleError(
                "some weights lie beyond the range of float16; export with precision float32"
            )
        name = tensor.name
        graph.initializer[number].CopyFrom(numpy_helper.from_array(narrow, f"{name}.float16"))
        nodes.append(helper.make_node("Cast", [f"{name}.float16"], [name], to=TensorProto.FLOAT))
    old = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *old])
    return found


def quantised(model: Any, crops: Sequence[np.ndarray]) -> Any:
    """Weights and what flows between layers in 8 bits, by onnxruntime's static quantisation.

    Args:
        model: ``onnx.ModelProto``.
        crops: n of (S, S, 3) uint8, by which the ranges between layers are chosen, n >= 1.

    Returns:
        another ``onnx.ModelProto``.
    """
    import onnx
    from onnxruntime import quantization

    with tempfile.TemporaryDirectory() as folder, _silent():
        source, ready, target = (Path(folder) / f"{n}.onnx" for n in ("source", "ready", "target"))
        onnx.save(model, source)
        quantization.shape_inference.quant_pre_process(source, ready, skip_symbolic_shape=True)
        quantization.quantize_static(
            ready,
            target,
            _crop_reader(crops),
            quant_format=quantization.QuantFormat.QDQ,
            op_types_to_quantize=["Conv", "Gemm", "MatMul"],
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            calibrate_method=quantization.CalibrationMethod.MinMax,
            extra_options={"ActivationSymmetric": False},
        )
        found = onnx.load(target)
    # onnxruntime's tools name every set of operators that they know.
    used = {node.domain for node in found.graph.node} | {""}
    kept = [one for one in found.opset_import if one.domain in used]
    del found.opset_import[:]
    found.opset_import.extend(kept)
    return found


def _crop_reader(crops: Sequence[np.ndarray]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class Crops(CalibrationDataReader):  # type: ignore[misc]
        """Batches, as onnxruntime asks for them."""

        def __init__(self) -> None:
            self.each = _batches(crops)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.each, None)

    return Crops()


def _batches(crops: Sequence[np.ndarray]) -> Iterator[dict[str, np.ndarray]]:
    for start in range(0, len(crops), _BATCH):
        images = np.stack(crops[start : start + _BATCH]).transpose(0, 3, 1, 2)
        yield {"images": np.ascontiguousarray(images)}


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Inside the ``with`` block onnxruntime's tools print and log nothing."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(level)
