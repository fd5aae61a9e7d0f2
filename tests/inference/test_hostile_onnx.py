"""Files of strangers: an .onnx file is looked through before onnxruntime gets it."""

import json
import time

import numpy as np
import pytest
from tests.helpers import assert_says
from tests.inference.onnx_files import small_bundle

from siamese.errors import BundleError
from siamese.inference.loading import load_verifiable
from siamese.inference.verifier import Verifier
from siamese.reading import Unreadable

pytest.importorskip("onnxscript")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper  # noqa: E402

from siamese.inference.onnx.export import export_onnx, sealed  # noqa: E402
from siamese.inference.onnx.metadata import KEY  # noqa: E402
from siamese.inference.onnx.model import OnnxModel  # noqa: E402
from siamese.inference.onnx.wire import skeleton_of  # noqa: E402

SECONDS = 6.0  # of one refusal, on a busy machine


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    return export_onnx(small_bundle(), path).path.read_bytes()


@pytest.fixture
def edited(content, tmp_path):
    """Writes a file whose network or metadata were changed, with a digest that fits."""

    def edit(of_model=lambda model: None, of_metadata=lambda values: None):
        model = onnx.load_from_string(content)
        values = json.loads(next(e.value for e in model.metadata_props if e.key == KEY))
        del model.metadata_props[:]
        of_model(model)
        of_metadata(values)
        path = tmp_path / "edited.onnx"
        path.write_bytes(_sealed(model, json.dumps(values)))
        return path

    return edit


def _sealed(model, text):
    try:
        return sealed(model, text)
    except Unreadable:  # our own writer refuses it, too
        del model.metadata_props[:]
        model.metadata_props.add(key=KEY, value=text)
        return model.SerializeToString()


def refused(path, *words, load=OnnxModel.load):
    start = time.perf_counter()
    with pytest.raises(BundleError) as error:
        load(path)
    assert time.perf_counter() - start < SECONDS
    assert_says(error.value, *words)


def test_what_is_untouched_loads(edited):
    assert OnnxModel.load(edited()).tta == 0


def test_any_byte_that_changed_is_seen(content, tmp_path):
    path = tmp_path / "model.onnx"
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(content), 150).tolist():
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        refused(path, "model.onnx")
    for part in (content[:-1], content[: len(content) // 2], content + b"\0", b"", b"ORTM" * 9):
        path.write_bytes(part)
        refused(path, "model.onnx")


def external(model):
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")


def in_an_attribute(model):
    tensor = TensorProto(data_type=1, dims=[1], data_location=TensorProto.EXTERNAL)
    model.graph.node.append(helper.make_node("Constant", [], ["secret"], value=tensor))


def custom(model):
    model.graph.node[0].domain = "com.stranger"


def imported(model):
    model.opset_import.add(domain="com.stranger", version=1)


def looping(model):
    body = helper.make_graph([], "body", [], [])
    model.graph.node.append(helper.make_node("Loop", ["n"], ["out"], body=body))


def functions(model):
    model.functions.add(name="f", domain="local")


def sparse(model):
    model.graph.sparse_initializer.add()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (external, "weights in another file"),
        (in_an_attribute, "weights in another file"),
        (custom, "operators of 'com.stranger'"),
        (imported, "operators of 'com.stranger'"),
        (looping, "parts that run other parts"),
        (functions, "functions"),
        (sparse, "sparse tensors"),
    ],
)
def test_networks_that_do_more_than_compute_are_refused(change, words, edited):
    refused(edited(of_model=change), words)


def setting(*path, value):
    def change(values):
        for key in path[:-1]:
            values = values[key]
        values[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (setting("version", value=2), ("newer siamese",)),
        (setting("version", value="1"), ("version",)),
        (setting("unknown", value=1), ("unknown",)),
        (lambda v: v.pop("distance"), ("distance",)),
        (setting("distance", "name", value="learned"), ("distance",)),
        (setting("cropper", value={"name": "os.system"}), ("unknown cropper",)),
        (setting("cropper", "size", value=4096), ("4096",)),
        (setting("cropper", "size", value=1e30), ("cropper",)),
        (setting("input", "size", value=10**9), ("4096",)),
        (setting("tta", value=3), ("tta",)),
        (setting("fingerprint", value="x" * 64), ("fingerprint",)),
        (setting("calibration", value="%%%"), ("base64",)),
        (setting("calibration", value="AAAA"), ("not a calibration",)),
        (setting("operating_point", "threshold", value=0.123), ("",)),
        (setting("operating_point", "threshold", value=float("nan")), ("NaN",)),
        (setting("operating_point", "distance", value="cosine"), ("cosine",)),
        (lambda v: v["operating_point"].pop("policy"), ("policy",)),
        (setting("chip", value=[{"name": "\x1b[2J", "x": 0, "y": 0}]), ("chip",)),
    ],
)
def test_metadata_of_a_wrong_type_or_beyond_their_range(change, words, edited):
    refused(edited(of_metadata=change), *words)


def test_a_threshold_beyond_all_distances_is_refused(edited):
    def change(values):
        values["calibration"] = None
        values["operating_point"].update(threshold=2.5, gap=None)

    refused(edited(of_metadata=change), "beyond every distance")


def test_a_network_that_is_another_than_the_file_says(edited):
    def wider(values):
        values["output"]["size"] = 9

    refused(edited(of_metadata=wider), "not what the file says", load=Verifier.load)

    def unknown(model):
        model.graph.node[0].op_type = "NoSuchThing"

    refused(edited(of_model=unknown), "onnxruntime refuses", load=Verifier.load)


def test_other_networks_say_what_they_lack(edited, tmp_path):
    path = edited()
    model = onnx.load(path)
    del model.metadata_props[:]
    path.write_bytes(model.SerializeToString())
    refused(path, "not one that siamese export wrote")
    refused(tmp_path / "none.onnx", "no such file", load=load_verifiable)


def test_a_signature_that_is_asked_for_is_missed(edited, tmp_path, monkeypatch):
    keys = tmp_path / "keys.txt"
    keys.write_text("0" * 64 + "\n")
    path = edited()
    monkeypatch.setenv("SIAMESE_TRUSTED_KEYS", str(keys))
    refused(path, "a signature is asked for", load=Verifier.load)


def test_a_file_of_many_parts_takes_no_time(tmp_path):
    # 30 MB of nodes of two bytes each.
    path = tmp_path / "many.onnx"
    graph = b"\x0a\x00" * 15_000_000
    length, size = b"", len(graph)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    path.write_bytes(b"\x3a" + length + bytes([size]) + graph)
    refused(path, "more than 200,000 parts")


@pytest.mark.parametrize(
    "message",
    [b"\x3a", b"\x3a\x05ab", b"\x3b\x00", b"\xff" * 11, b"\x38\x01", b"\x3a\x00\x3a\x00"],
)
def test_bytes_that_are_no_model(message):
    with pytest.raises(Unreadable):
        skeleton_of(message)


def test_the_reader_agrees_with_onnx_on_what_there_is(content):
    model = onnx.load_from_string(content)
    found = skeleton_of(content)
    assert {k: bytes(v).decode() for k, v in found.metadata.items()} == {
        entry.key: entry.value for entry in model.metadata_props
    }


def _numbered(value):
    """A whole number of protocol buffers."""
    head = b""
    while value > 0x7F:
        head += bytes([value & 0x7F | 0x80])
        value >>= 7
    return head + bytes([value])


@pytest.mark.parametrize("field", [5, 6, 7])
def test_nothing_hides_behind_a_number_that_others_read_otherwise(field):
    """Readers in C++ keep 32 bits of what stands before a field, so these would be known ones."""
    node = helper.make_node("Identity", ["x"], ["y"]).SerializeToString()
    for key in (1 << 32 | field << 3 | 2, 2):  # beyond 32 bits, and the number 0
        hidden = _numbered(key) + b"\x00"
        nodes = _numbered(1 << 3 | 2) + _numbered(len(node + hidden)) + node + hidden
        graph = _numbered(7 << 3 | 2) + _numbered(len(nodes)) + nodes
        with pytest.raises(Unreadable, match="a number of ONNX"):
            skeleton_of(graph)
