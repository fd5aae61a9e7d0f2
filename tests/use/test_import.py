"""`import siamese` is light, and every public name is there."""

import subprocess
import sys

import pytest

import siamese


def test_importing_loads_nothing_heavy():
    script = "import siamese, sys; print(sorted({m.split('.')[0] for m in sys.modules} & {'torch', 'numpy', 'pytorch_lightning', 'hydra', 'PIL'}))"
    assert (
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )


@pytest.mark.parametrize("name", siamese.__all__)
def test_every_public_name_is_there_and_explained(name):
    value = getattr(siamese, name)
    assert name in dir(siamese)
    if callable(value):
        assert value.__doc__


def test_the_type_checker_sees_the_names_that_are_loaded_lazily():
    import ast
    from pathlib import Path

    tree = ast.parse(Path(siamese.__file__).read_text(encoding="utf-8"))
    seen = {
        alias.asname
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert seen | {"__version__"} == set(siamese.__all__)


def test_a_misspelt_name_names_the_nearest():
    with pytest.raises(AttributeError, match="did you mean 'Verifier'"):
        siamese.Verifer  # noqa: B018
