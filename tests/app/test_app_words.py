"""What a visitor of the page reads of the library's messages."""

import pytest

from siamese.app.words import error_for_visitor, for_visitor
from siamese.errors import CalibrationError, GalleryError
from siamese.inference.verifier import _refusal


def test_a_face_that_is_missing_is_said_without_options():
    assert for_visitor(str(_refusal("a.png", 0)), "give another") == (
        "a.png: no face found; give another"
    )
    many = str(_refusal("a.png", 2))
    assert for_visitor(many, "give another") == many  # it names none


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("too dark; blurred; take it: low_quality='warn'", "too dark; blurred; do this"),
        ("3 are left out, too (no_face='x', --no-face x takes them)", "3 are left out, too"),
        ("a rate (of 0.5) is none; call siamese.calibrate", "a rate (of 0.5) is none; do this"),
        ("half break it (confidence=0.95 promises it)", "half break it"),
        ("1 - (1 - 0.3)^(1/2); kept", "1 - (1 - 0.3)^(1/2); kept"),
        ("steers \x1b[1m", "steers \\x1b[1m"),
    ],
)  # fmt: skip
def test_what_names_commands_gives_way_to_what_can_be_done(text, shown):
    assert for_visitor(text, "do this") == shown


def test_a_setting_can_be_chosen_on_the_page_and_a_gallery_cannot():
    text = "it cannot be; see siamese enrol"
    assert error_for_visitor(CalibrationError(text)).startswith("it cannot be; choose another")
    assert error_for_visitor(GalleryError(text)) == "it cannot be"
