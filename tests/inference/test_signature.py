"""Signatures: a bundle is trusted for its signature alone, and nothing of it can change after."""

import json
import stat
import subprocess
import sys

import pytest
from tests.helpers import as_of_version, assert_says, edit_bundle
from tests.inference.test_bundle import bundle, random_image

from siamese.cli.main import main
from siamese.errors import BundleError, ConfigError
from siamese.evaluation.sources import open_source
from siamese.inference.bundle import Bundle
from siamese.inference.signature import new_key, sign
from siamese.inference.verifier import Verifier

pytest.importorskip("cryptography")


@pytest.fixture
def key(tmp_path):
    return new_key(tmp_path / "key.pem"), tmp_path / "key.pem"


@pytest.fixture
def signed(tmp_path, key):
    folder = bundle().save(tmp_path / "bundle")
    assert sign(folder, key[1]) == key[0]
    return folder


def refused(folder, trusted, *words):
    with pytest.raises(BundleError) as error:
        Bundle.load(folder, trusted)
    assert_says(error.value, folder, *words)


def test_what_was_signed_is_loaded_and_nothing_else(signed, key, tmp_path):
    assert Bundle.load(signed, [key[0]]).operating_point == bundle().operating_point
    file = tmp_path / "keys.txt"
    file.write_text(f"# ours\n{'0' * 64}\n{key[0].upper()}  # of the lab\n")
    assert Verifier.load(signed, trusted=file).threshold == 0.5
    other = new_key(tmp_path / "other.pem")
    refused(signed, [other], f"signed by {key[0]}", "none of the 1 trusted keys")
    refused(bundle().save(tmp_path / "plain"), [key[0]], "not signed")


def test_what_is_signed_is_what_was_checked(tmp_path, key, monkeypatch):
    """Files that are replaced after they were read are not signed."""
    folder = bundle().save(tmp_path / "bundle")
    build = Bundle._build

    def replaced_meanwhile(*given):
        made = build(*given)
        edit_bundle(folder, lambda d: d["operating_point"].update(threshold=0.75))
        return made

    monkeypatch.setattr(Bundle, "_build", replaced_meanwhile)
    sign(folder, key[1])
    monkeypatch.undo()
    assert Bundle.load(folder).operating_point.threshold == 0.75
    refused(folder, [key[0]], "altered after it was signed")


def test_any_change_after_signing_is_seen(signed, key):
    kept = (signed / "bundle.json").read_bytes()
    # Not what was signed, though the digest fits.
    edit_bundle(signed, lambda description: description["operating_point"].update(threshold=0.75))
    assert Bundle.load(signed).operating_point.threshold == 0.75
    refused(signed, [key[0]], "altered after it was signed")
    (signed / "bundle.json").write_bytes(kept + b"\n")  # not even white space
    refused(signed, [key[0]], "checksum")
    as_of_version(signed, 4)  # a version without a digest
    Bundle.load(signed)
    refused(signed, [key[0]], "no valid signature")


@pytest.mark.parametrize(
    "fault",
    [
        lambda s: s.update(signature="00" * 64),
        lambda s: s.update(signature=s["signature"][:-2]),
        lambda s: s.update(algorithm="none"),
        lambda s: s.update(public_key=[]),
        lambda s: s.update(more=1),
        lambda s: s.clear(),
    ],
)
def test_a_false_signature_is_refused(signed, key, fault):
    content = json.loads((signed / "signature.json").read_text())
    fault(content)
    (signed / "signature.json").write_text(json.dumps(content))
    refused(signed, [key[0]])
    (signed / "signature.json").write_text("{")
    refused(signed, [key[0]], "no valid signature")


def test_a_bundle_that_is_saved_again_is_another_one(signed, key):
    Bundle.load(signed, [key[0]]).save(signed)
    assert not (signed / "signature.json").exists()
    refused(signed, [key[0]], "not signed")
    with pytest.raises(BundleError, match="no SHA256SUMS to be signed"):
        sign(as_of_version(signed, 4), key[1])


def test_a_deployment_trusts_only_its_keys(signed, key, tmp_path, monkeypatch):
    pins = tmp_path / "pins"
    pins.write_text(key[0])
    monkeypatch.setenv("SIAMESE_TRUSTED_KEYS", str(pins))
    plain = bundle().save(tmp_path / "plain")
    for load in (Bundle.load, Verifier.load, open_source):
        load(signed)
        with pytest.raises(BundleError, match="not signed"):
            load(plain)
    other = new_key(tmp_path / "other.pem")
    with pytest.raises(ConfigError, match="none of the trusted keys is among"):
        Bundle.load(signed, [other])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(BundleError, match="a checkpoint cannot be signed"):
        open_source(tmp_path / "run")
    monkeypatch.setenv("SIAMESE_TRUSTED_KEYS", "")
    with pytest.raises(ConfigError, match="is empty"):
        Bundle.load(signed)
    with pytest.raises(ConfigError, match="trusted is empty"):
        Bundle.load(signed, [])


@pytest.mark.parametrize(
    "content", ["", "# none\n", "0123", "-----BEGIN PRIVATE KEY-----\n", "é\0"]
)
def test_what_is_no_file_of_public_keys_trusts_nobody(signed, tmp_path, content):
    (tmp_path / "keys").write_text(content)
    with pytest.raises(ConfigError) as error:
        Bundle.load(signed, tmp_path / "keys")
    assert_says(error.value, "keys")
    with pytest.raises(ConfigError):
        Bundle.load(signed, [tmp_path / "nowhere"])


def test_a_key_is_for_its_owner_and_never_written_over(tmp_path):
    public = new_key(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(ConfigError, match="exists already"):
        new_key(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before
    assert len(public) == 64
    (tmp_path / "rsa").write_text(
        "-----BEGIN RSA PRIVATE KEY-----\nMIIB\n-----END RSA PRIVATE KEY-----\n"
    )
    for wrong in ("rsa", "nowhere", "."):
        with pytest.raises(ConfigError, match="no private key"):
            sign(tmp_path, tmp_path / wrong)


def test_the_command(tmp_path, capsys):
    """The whole way, as a user goes it."""
    folder, pem = bundle().save(tmp_path / "bundle"), str(tmp_path / "key.pem")
    a, b = (str(random_image(tmp_path / f"{i}.png", i)) for i in (1, 2))
    assert main(["sign", "--new-key", pem]) == 0
    (tmp_path / "keys").write_text(capsys.readouterr().out)
    verify = ["verify", a, b, "--bundle", str(folder), "--trusted", str(tmp_path / "keys")]
    assert main(verify) == 2
    assert "not signed" in capsys.readouterr().err
    assert main(["sign", str(folder), "--key", pem]) == 0
    assert main(verify) in (0, 1)
    assert main(["sign", str(folder)]) == 2
    assert main(["sign", str(folder), "--new-key", pem]) == 2


def test_without_the_package_unsigned_bundles_still_load(tmp_path):
    folder = bundle().save(tmp_path / "bundle")
    script = (
        "import sys; sys.modules['cryptography'] = None\n"
        "from siamese.inference.bundle import Bundle\n"
        f"Bundle.load({str(folder)!r})\n"
        "from siamese.errors import MissingDependencyError\n"
        "from siamese.inference.signature import new_key\n"
        f"try: new_key({str(tmp_path / 'k')!r})\n"
        "except MissingDependencyError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "siamese-lightning[sign]" in done.stdout
    assert not (tmp_path / "k").exists()
