"""Embeddings per second of dlib's network here against dlib's own call, on the same chips.

    python benchmarks/embedding.py [--rounds 5] [--threads 1 2] [--lfw LFW]

Each way runs in turn, in one process per number of threads; medians. With LFW, also what bfloat16
does to the accuracy of View 2.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

CHIPS = 64
BATCHES = (1, 32)


def chips() -> np.ndarray:
    """Smooth noise: how long a convolution takes does not depend on what it sees."""
    from PIL import Image

    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (CHIPS, 16, 16, 3), dtype=np.uint8)
    return np.stack(
        [np.asarray(Image.fromarray(s).resize((150, 150), Image.Resampling.BICUBIC)) for s in small]
    )


def ways(threads: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Each takes a batch of chips, (B, 150, 150, 3) uint8, and gives B descriptors."""
    import dlib
    import onnxruntime
    import torch

    import siamese
    from siamese.weight_files import RESNET, pretrained_file

    torch.set_num_threads(threads)
    theirs = dlib.face_recognition_model_v1(str(pretrained_file(RESNET)))
    eager = siamese.DlibResNet("dlib").eval()
    folded = eager.for_inference()
    half = eager.for_inference().bfloat16()

    def by_torch(network: torch.nn.Module) -> Callable[[np.ndarray], np.ndarray]:
        def embed(batch: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return network(torch.from_numpy(batch).permute(0, 3, 1, 2)).float().numpy()

        return embed

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        example = (torch.zeros(2, 3, 150, 150, dtype=torch.uint8),)
        shapes = ({0: torch.export.Dim("batch", min=1, max=1024)},)
        torch.onnx.export(
            folded,
            example,
            path,
            dynamo=True,
            dynamic_shapes=shapes,
            external_data=False,
            verbose=False,
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            path.read_bytes(), options, providers=["CPUExecutionProvider"]
        )
    name = session.get_inputs()[0].name
    return {
        "dlib": lambda batch: np.array(theirs.compute_face_descriptor(list(batch))),
        "eager": by_torch(eager),
        "folded": by_torch(folded),
        "folded, bfloat16": by_torch(half),
        "onnxruntime": lambda batch: session.run(
            None, {name: np.ascontiguousarray(batch.transpose(0, 3, 1, 2))}
        )[0],
    }


def measure(threads: int, rounds: int) -> None:
    images, made = chips(), ways(threads)
    expected = made["dlib"](images)
    apart = {
        name: float(np.linalg.norm(way(images) - expected, axis=1).max())
        for name, way in made.items()
    }
    for size in BATCHES:
        rates: dict[str, list[float]] = {name: [] for name in made}
        for _ in range(rounds):
            for name, way in made.items():
                few = images[:32] if name == "dlib" else images  # it takes long enough as it is
                start = time.perf_counter()
                for i in range(0, len(few), size):
                    way(few[i : i + size])
                rates[name].append(len(few) / (time.perf_counter() - start))
        for name, values in rates.items():
            rate = statistics.median(values)
            times = rate / statistics.median(rates["dlib"])
            spread = f"{min(values):.0f}-{max(values):.0f}"
            print(
                f"| {threads} | {size} | {name} | {rate:.0f} ({spread}) | {times:.1f} | "
                f"{apart[name]:.1g} |",
                flush=True,
            )


def accuracy(root: str) -> None:
    """View 2 with the pretrained bundle's network, in float32 and in bfloat16."""
    import siamese
    from siamese.inference.pretrained import CROPPER, pretrained_backbone

    pairs = siamese.lfw_view2(root)
    for name, network in (
        ("float32", pretrained_backbone()),
        ("bfloat16", pretrained_backbone().bfloat16()),
    ):
        measured = siamese.measure_benchmark(
            network, siamese.EuclideanDistance(), CROPPER, pairs, progress=False
        )
        found = measured.evaluate()
        print(
            f"View 2 in {name}: {found.mean:.4f} +- {found.standard_error:.4f}, EER {found.eer:.4f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--lfw", metavar="LFW")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        measure(args.threads[0], args.rounds)
        return
    print(
        "| threads | batch | | embeddings per second (least to most) | of dlib | farthest from "
        "dlib's |\n|---|---|---|---|---|---|"
    )
    for threads in args.threads:
        limits = dict.fromkeys(
            ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(threads)
        )
        words = [
            sys.executable,
            __file__,
            "--child",
            "--threads",
            str(threads),
            "--rounds",
            str(args.rounds),
        ]
        subprocess.run(words, check=True, env=os.environ | limits)
    if args.lfw:
        accuracy(args.lfw)


if __name__ == "__main__":
    main()
