"""The example in JavaScript, where node and onnxruntime-node are: the distance that we measure."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.helpers import random_image
from tests.inference.onnx_files import small_bundle

from siamese.faces.croppers.dlib_croppers import DlibHogCropper
from siamese.faces.croppers.none import NoCropper

dlib = pytest.importorskip("dlib")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

from siamese.inference.onnx.export import export_onnx  # noqa: E402

EXAMPLE = Path(__file__).parents[2] / "examples" / "node" / "compare.js"


@pytest.fixture(scope="module")
def node():
    """The program, or a skip; NODE_PATH says where packages are."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("node is not installed")
    code = "require.resolve('onnxruntime-node')"
    if subprocess.run([program, "-e", code], capture_output=True).returncode:
        pytest.skip("npm's onnxruntime-node is not installed (NODE_PATH names its folder)")
    return program


def test_it_measures_what_we_measure(node, tmp_path):
    cropper = DlibHogCropper(size=48, margin=0.25, aligner="five_point")
    bundle = small_bundle(cropper=cropper)
    export_onnx(bundle, tmp_path / "model.onnx")
    words, chips = [], []
    for seed, angle in ((1, 0.3), (2, -0.2)):
        image = random_image(seed, 120, 100)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        face = np.array([(0.86, 0.21), (0.65, 0.23), (0.12, 0.21), (0.33, 0.23), (0.49, 0.63)])
        landmarks = np.round((face - 0.5) @ turn.T * 50 + 55)
        Image.fromarray(image).save(tmp_path / f"{seed}.ppm")
        (tmp_path / f"{seed}.json").write_text(json.dumps(landmarks.tolist()))
        found = dlib.full_object_detection(
            dlib.rectangle(0, 0, 9, 9), [dlib.point(int(x), int(y)) for x, y in landmarks]
        )
        chips.append(dlib.get_face_chip(image, found, 48, 0.25))
        words += [str(tmp_path / f"{seed}.ppm"), str(tmp_path / f"{seed}.json")]
    done = subprocess.run(
        [node, str(EXAMPLE), str(tmp_path / "model.onnx"), *words],
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    engine = small_bundle(cropper=NoCropper(48)).engine()
    rows = engine.embed(chips)
    wanted = float(engine.measure(rows[:1], rows[1:])[0])
    assert said["threshold"] == bundle.operating_point.threshold
    # dlib's chips, sampled by dlib: colours differ by one here and there.
    assert said["distance"] == pytest.approx(wanted, abs=2e-3)
    assert wanted > 0.02
    assert said["same"] == (said["distance"] <= said["threshold"])
