"""dlib's own file of a bundle's network, read by dlib."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.helpers import assert_says, random_image
from tests.inference.onnx_files import small_bundle

from siamese.backbones.dlib_res_net import DlibResNet
from siamese.errors import ConfigError
from siamese.faces.croppers.none import NoCropper
from siamese.inference.dlib_export import export_dlib

dlib = pytest.importorskip("dlib")


@pytest.fixture(scope="module")
def network():
    """As after a training: no weight is dlib's."""
    torch.manual_seed(0)
    return DlibResNet(mirror=True, unit_length=True).eval()


def test_dlib_computes_the_embedding_of_one_view(network, tmp_path):
    bundle = small_bundle(backbone=network, cropper=NoCropper(150))
    found = export_dlib(bundle, tmp_path / "model.dat")
    assert found.bytes == found.path.stat().st_size
    assert_says(" ".join(found.notes), "mirror image", "length 1", "threshold")
    chip = random_image(0, 150, 150)
    theirs = np.array(dlib.face_recognition_model_v1(str(found.path)).compute_face_descriptor(chip))
    plain = DlibResNet().eval()
    plain.load_state_dict(network.state_dict())
    with torch.inference_mode():
        ours = plain(torch.from_numpy(chip).permute(2, 0, 1)[None])[0].numpy()
    assert np.abs(theirs - ours).max() < 1e-5 * np.abs(ours).max()


def test_another_network_is_refused(tmp_path):
    with pytest.raises(ConfigError) as error:
        export_dlib(small_bundle(), tmp_path / "model.dat")
    assert_says(error.value, "SmallResNet", "--to onnx")
    assert not list(tmp_path.iterdir())


def test_a_network_that_gives_what_dlib_gives_needs_no_note(network, tmp_path):
    plain = DlibResNet().eval()
    bundle = replace(small_bundle(cropper=NoCropper(150)), backbone=plain)
    assert export_dlib(bundle, tmp_path / "model.dat").notes == ()
