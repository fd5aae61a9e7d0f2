"""The progress bar in a notebook: one output that is changed, and empty at the end."""

import subprocess
import sys

import pytest

from siamese import progress


def test_in_a_notebook_one_output_is_changed_and_empty_at_the_end(monkeypatch):
    display = pytest.importorskip("IPython.display")
    made, shown, heard = [], [], []

    class Handle:
        def update(self, data, raw):
            shown.append(data["text/plain"])

    def first(data, raw, display_id):
        made.append(data["text/plain"])
        return Handle()

    clock = iter(range(100))
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    monkeypatch.setattr(display, "display", first)
    with (
        progress.listening(lambda *said: heard.append(said)),
        progress.progress_bar("cropping", 1200) as advance,
    ):
        advance(400)
        advance(800)
    assert made == ["cropping 400 of 1,200"]
    assert shown == ["cropping 1,200 of 1,200", ""]
    assert heard == [("cropping", 0, 1200), ("cropping", 400, 1200), ("cropping", 1200, 1200)]


def test_a_program_is_no_notebook_and_ipython_is_not_loaded_to_see_that():
    said = "from siamese.progress import in_notebook; import sys; "
    said += "print(in_notebook(), 'IPython' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["False", "False"]
