"""OnnxEngine: an exported network, run by onnxruntime; torch is not needed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from siamese.distances.numpy_measures import measure
from siamese.errors import BundleError, ConfigError, MissingDependencyError, first_line
from siamese.inference.onnx.metadata import StoredModel

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class OnnxEngine:
    """Runs an exported network.

    As torch, it takes as many threads as the environment variable ``OMP_NUM_THREADS`` says; by
    default one for each core.

    Args:
        name: of the file, for messages.
        content: of the file, which was checked.
        stored: what it says of itself.
        device: ``"cpu"``, or ``"cuda"`` with the package onnxruntime-gpu.

    Raises:
        MissingDependencyError: onnxruntime is not installed (extra ``onnx``).
        ConfigError: a device that onnxruntime does not have here.
        BundleError: onnxruntime refuses the network, or it takes or gives something else than the
            file says.
    """

    def __init__(self, name: str, content: bytes, stored: StoredModel, device: str = "cpu") -> None:
        self.name, self._stored = name, stored
        runtime = import_runtime()
        provider = _PROVIDERS.get(str(device).partition(":")[0])
        if provider not in runtime.get_available_providers():
            raise ConfigError(
                f"device {str(device)!r} cannot be used for an .onnx file: onnxruntime has "
                f"{', '.join(runtime.get_available_providers())} here; try cpu"
            )
        settings = runtime.SessionOptions()
        settings.log_severity_level = 4  # it is said in the error
        # Of a file that may be a stranger's: it is ONNX, whatever it looks like.
        settings.add_session_config_entry("session.load_model_format", "ONNX")
        threads = os.environ.get("OMP_NUM_THREADS", "")
        if threads.isdigit() and 0 < int(threads) <= 1024:
            settings.intra_op_num_threads = int(threads)
        try:
            self._session = runtime.InferenceSession(content, settings, providers=[provider])
        except Exception as error:  # its errors have no base of their own
            raise _refused(name, error) from error
        self._check()

    def embed(self, crops: Sequence[np.ndarray]) -> np.ndarray:
        """See :meth:`siamese.inference.engine.Engine.embed`.

        Raises:
            BundleError: the network fails, or gives something else than the file says.
        """
        images = np.ascontiguousarray(np.stack(crops).transpose(0, 3, 1, 2))
        try:
            (found,) = self._session.run(["embeddings"], {"images": images})
        except Exception as error:
            raise _refused(self.name, error) from error
        wanted = (len(crops), self._stored.output.size)
        if found.shape != wanted or found.dtype != np.float32:
            raise BundleError(
                f"{self.name}: gives {found.dtype} {found.shape} for {len(crops)} images, not "
                f"float32 {wanted}; export the bundle again"
            )
        rows: np.ndarray = found
        return rows

    def measure(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """See :meth:`siamese.inference.engine.Engine.measure`."""
        return measure(self._stored.distance.name, a, b)

    def given(self, embeddings: np.ndarray) -> Any:
        """The array itself."""
        return embeddings

    def _check(self) -> None:
        """Refuse a network that takes or gives something else than the file says."""
        side = self._stored.input.size
        both = [
            [(one.name, one.type, one.shape[1:]) for one in part]
            for part in (self._session.get_inputs(), self._session.get_outputs())
        ]
        wanted = [
            [("images", "tensor(uint8)", [3, side, side])],
            [("embeddings", "tensor(float)", [self._stored.output.size])],
        ]
        if both != wanted:
            raise BundleError(
                f"{self.name}: its network takes and gives {both!s:.200}, not what the file says; "
                f"export the bundle again"
            )


def import_runtime() -> Any:
    """The package onnxruntime.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            "an .onnx file is run by onnxruntime, which is not installed; run: pip install "
            "onnxruntime, or pip install 'siamese-lightning[onnx]' to export, too"
        ) from error
    return onnxruntime


def _refused(name: str, error: Exception) -> BundleError:
    return BundleError(
        f"{name}: onnxruntime refuses its network ({first_line(error):.300}); export the bundle "
        f"again, or upgrade onnxruntime"
    )
