"""Errors of images: their parts, and that these come through to another process."""

from __future__ import annotations

import pickle

import pytest
from tests.helpers import assert_says

from siamese.errors import (
    NO_FACE,
    POOR_FACE,
    SEVERAL_FACES,
    FaceError,
    ImageError,
    SiameseError,
)
from siamese.inference.verifier import _refusal

# Characters that divide parts of a message: none of them may be read as a part.
PATH, REASON, REMEDY = "a: b; c.png", "3: of 4; (no face found)", "do; this"


@pytest.mark.parametrize(
    "error",
    [
        ImageError(PATH, REASON, REMEDY),
        FaceError(PATH, REASON, REMEDY, SEVERAL_FACES),
        FaceError("", REASON, REMEDY, POOR_FACE),
    ],
)
def test_parts_are_kept_on_the_way_to_another_process(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert str(again) == str(error)
    assert (again.reason, again.remedy) == (REASON, REMEDY)
    assert again.without_path == f"{REASON}; {REMEDY}"
    assert str(again) == f"{again.path}: {again.without_path}".removeprefix(": ")


@pytest.mark.parametrize(("faces", "kind"), [(0, NO_FACE), (2, SEVERAL_FACES)])
def test_a_refusal_says_which_kind_it_is_of(faces, kind):
    error = _refusal("a.png", faces)
    assert isinstance(error, SiameseError)
    assert (error.path, error.kind) == ("a.png", kind)
    assert_says(error, "a.png", error.reason, error.remedy)
