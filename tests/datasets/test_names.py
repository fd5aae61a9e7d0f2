"""Names that readers take for one are told from names that the library takes for one."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.datasets.identities import normalise_identity
from siamese.datasets.names import look_alikes, look_of, merged


@pytest.mark.parametrize(
    ("one", "other", "is_one"),
    [
        ("Ann", "ANN", True),
        ("Zoe\u0308", "Zo\u00eb", True),
        (" Ann", "Ann ", True),
        ("Ann Lee", "Ann  Lee", False),
        ("Ann Lee", "Ann\u00a0Lee", False),
        ("Ann_Lee", "Ann Lee", False),
        ("O'Neil", "O\u2019Neil", False),
        ("O'Neil", "O\u00b4Neil", False),
        ("Mong-hun", "Mong\u2010hun", False),
        ("Mong-hun", "Mong\u2212hun", False),
        ("\uff21nn", "Ann", False),  # full width
        ("fi", "\ufb01", True),  # casefold takes the ligature apart
        ("An\u200bn", "Ann", False),
    ],
)
def test_one_look(one, other, is_one):
    assert look_of(one) == look_of(other)
    assert (normalise_identity(one) == normalise_identity(other)) == is_one
    assert bool(merged([one, other])) == is_one
    assert bool(look_alikes([one, other])) != is_one


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ann", "Anne"), ("Zoe", "Zo\u00eb"), ("Ann Lee", "AnnLee"), ("Ann1", "Ann2")],
)
def test_two_looks(one, other):
    assert look_alikes([one, other]) == []


@given(st.text(max_size=8))
def test_what_is_one_identity_has_one_look(name):
    for form in ("NFC", "NFD"):
        assert look_of(unicodedata.normalize(form, name)) == look_of(name)
    assert look_of(normalise_identity(name)) == look_of(name)


def test_groups():
    names = ["Ann Lee", "ann  lee", "ann lee", "Bo", "O'N", "o\u2019n"]
    assert look_alikes(names) == [("ann lee", "ann  lee"), ("o'n", "o\u2019n")] or look_alikes(
        names
    ) == [("ann  lee", "ann lee"), ("o'n", "o\u2019n")]
    assert merged(names) == [("Ann Lee", "ann lee")]
