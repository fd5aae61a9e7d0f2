"""Which pairs a gallery shows, against plain sorting; what stands on it; what it reads."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from siamese.pairs.base import Pairs
from siamese.report import plots
from siamese.report.galleries import (
    false_matches,
    false_non_matches,
    pair_gallery,
    sample,
    shorten,
)
from siamese.verification.confusion import count_verdicts
from siamese.verification.held import HeldDistances


def measured(left, right, same, distances, rows=50):
    pairs = Pairs(
        np.array(left, dtype=np.int64), np.array(right, dtype=np.int64), np.array(same, dtype=bool)
    )
    return HeldDistances(
        pairs,
        np.array(distances, dtype=np.float32),
        np.zeros(rows, dtype=np.int64),
        "euclidean",
        {},
    )


def many(n=40, seed=0):
    """Pairs of neighbouring rows, no two alike, about half of them genuine."""
    rng = np.random.default_rng(seed)
    return measured(range(n), range(1, n + 1), rng.integers(0, 2, n), rng.random(n))


def flat(row):
    return np.full((8, 8, 3), row % 256, dtype=np.uint8)


def texts(figure):
    """All captions of a figure: heading, titles, and what is written below the images."""
    return [
        figure.get_suptitle(),
        *(a.get_title() for a in figure.axes),
        *(t.get_text() for a in figure.axes for t in a.texts),
    ]


@st.composite
def cases(draw):
    """Few rows and distances: ties and pairs listed both ways are the rule.

    A distance depends on the two images.
    """
    rows = draw(st.integers(2, 6))
    couples = draw(
        st.lists(st.tuples(st.integers(0, rows - 1), st.integers(0, rows - 1)), max_size=40)
    )
    pool = draw(st.lists(st.floats(0, 2, width=32), min_size=1, max_size=4))
    facts = {frozenset(c): (draw(st.booleans()), draw(st.sampled_from(pool))) for c in couples}
    found = [facts[frozenset(c)] for c in couples]
    return measured(
        [c[0] for c in couples],
        [c[1] for c in couples],
        [f[0] for f in found],
        [f[1] for f in found],
    ), draw(st.sampled_from(pool))


@given(cases(), st.integers(0, 12))
def test_the_worst_mistakes_against_plain_sorting(case, count):
    c, threshold = case
    table = [
        (
            row,
            frozenset((int(c.pairs.left[row]), int(c.pairs.right[row]))),
            bool(c.pairs.same[row]),
            float(c.distances[row]),
        )
        for row in range(len(c.pairs))
    ]
    for choose, wrong, worst_first in (
        (false_matches, lambda same, d: not same and d <= threshold, lambda t: (t[3], t[0])),
        (false_non_matches, lambda same, d: same and not d <= threshold, lambda t: (-t[3], t[0])),
    ):
        expected, seen = [], set()
        for row, couple, _, _ in sorted((t for t in table if wrong(t[2], t[3])), key=worst_first):
            if couple not in seen:
                seen.add(couple)
                expected.append(row)
        chosen = choose(c, threshold, count)
        assert chosen.tolist() == expected[:count]
        assert chosen.dtype == np.int64


def test_all_mistakes_together_are_those_of_the_confusion():
    c = many(400)
    counts = count_verdicts(c.distances, c.pairs.same, 0.4)
    assert len(false_matches(c, 0.4, 1000)) == counts.fp
    assert len(false_non_matches(c, 0.4, 1000)) == counts.fn


@given(cases(), st.integers(0, 12), st.integers(0, 3))
def test_a_sample_takes_turns_and_repeats_no_pair(case, count, seed):
    c, _ = case
    rows = sample(c, count, seed)
    couples = [frozenset((int(c.pairs.left[r]), int(c.pairs.right[r]))) for r in rows]
    assert len(couples) == len(set(couples))
    kinds = c.pairs.same[rows].tolist()
    available = [
        len({frozenset(p) for p in zip(c.pairs.left[k], c.pairs.right[k], strict=True)})
        for k in (c.pairs.same, ~c.pairs.same)
    ]
    genuine, impostor = min(-(-count // 2), available[0]), min(count // 2, available[1])
    turns = min(genuine, impostor)
    rest = [True] * (genuine - turns) + [False] * (impostor - turns)
    assert kinds == [True, False] * turns + rest
    assert rows.tolist() == sample(c, count, seed).tolist()


def test_another_seed_is_another_sample_and_every_pair_can_be_drawn():
    c = many(12)
    drawn = [sample(c, 4, seed) for seed in range(60)]
    assert len({tuple(d.tolist()) for d in drawn}) > 30
    assert set(np.concatenate(drawn).tolist()) == set(range(12))


@pytest.mark.parametrize("count", [1, 2, 5, 6, 7, 8, 9, 11, 20])
def test_each_pair_has_its_two_images_and_its_caption(count):
    c = many(60)
    rows = np.random.default_rng(1).permutation(60)[:count]
    figure = pair_gallery(c, rows, flat, names=lambda row: f"n{row}", threshold=0.5)
    assert len(figure.axes) == count
    for axes, row in zip(figure.axes, rows.tolist(), strict=True):
        left, right, d = int(c.pairs.left[row]), int(c.pairs.right[row]), float(c.distances[row])
        assert [int(i.get_array().mean()) for i in axes.images] == [left, right]
        said = "same" if d <= 0.5 else "different"
        right_or_wrong = "\u2713 right" if (d <= 0.5) == bool(c.pairs.same[row]) else "\u2717 wrong"
        assert axes.get_title() == f"{d:.3f} {said} {right_or_wrong}"
        assert [t.get_text() for t in axes.texts] == [f"n{left}", f"n{right}"]
    places = [
        (a.get_subplotspec().rowspan.start, a.get_subplotspec().colspan.start) for a in figure.axes
    ]
    assert places == sorted(set(places))  # line by line, in the order given
    assert max(column for _, column in places) < 5


def test_right_and_wrong_differ_in_more_than_colour():
    c = measured([0, 2], [1, 3], [True, True], [0.1, 0.9])
    right, wrong = pair_gallery(c, [0, 1], flat, threshold=0.5).axes
    assert right.spines["left"].get_linestyle() != wrong.spines["left"].get_linestyle()
    assert right.spines["left"].get_edgecolor() != wrong.spines["left"].get_edgecolor()


def test_without_a_threshold_only_the_kind_is_told():
    c = many()
    rows = sample(c, 6)
    figure = pair_gallery(c, rows, flat, title="train")
    assert [a.get_title() for a in figure.axes] == ["genuine", "impostor"] * 3
    counts = f"{c.pairs.genuine} genuine, {c.pairs.impostor} impostor"
    assert figure.get_suptitle() == f"train\n6 of 40 pairs ({counts})"


def test_only_images_that_are_shown_are_read_and_each_once():
    c = measured([1, 2, 3, 5], [2, 3, 1, 6], [False] * 4, [0.1, 0.2, 0.3, 0.9])
    read = []

    def image(row):
        assert row in (1, 2, 3)
        read.append(row)
        return flat(row)

    pair_gallery(c, false_matches(c, 0.5), image, threshold=0.5)
    assert sorted(read) == [1, 2, 3]


def test_the_heading_counts_what_is_shown_and_what_there_is():
    # A pair listed both ways is one pair: 2 false matches of 3 impostor pairs, 1 false non-match of
    # 2 genuine ones.
    c = measured(
        [0, 1, 2, 4, 6, 8],
        [1, 0, 3, 5, 7, 9],
        [False] * 4 + [True] * 2,
        [0.1, 0.1, 0.2, 0.9, 0.1, 0.9],
    )
    at = "at threshold 0.500 (euclidean distance)"
    for rows, expected in (
        (false_matches(c, 0.5), f"2 of 2 false matches among 3 impostor pairs {at}"),
        (false_matches(c, 0.5, 1), f"1 of 2 false matches among 3 impostor pairs {at}"),
        (false_non_matches(c, 0.5), f"1 of 1 false non-matches among 2 genuine pairs {at}"),
        ([0, 5], f"2 of 5 pairs (2 genuine, 3 impostor) {at}"),
    ):
        heading = pair_gallery(c, rows, flat, threshold=0.5, title="test").get_suptitle()
        assert " ".join(heading.split()) == f"test {expected}"


def test_no_mistakes_are_told_in_words(tmp_path):
    c = measured(range(6), range(1, 7), [True, False] * 3, [0.1, 0.9, 0.2, 0.8, 0.7, 0.9])
    figure = pair_gallery(c, false_matches(c, 0.5), None, threshold=0.5, title="test")
    said = "no false matches among 3 impostor pairs at threshold 0.500 (euclidean distance)"
    assert figure.get_suptitle() == f"test\n{said}"
    assert not figure.axes
    assert ink(figure, tmp_path) > 500
    figure = pair_gallery(c, false_non_matches(c, 0.7), None, threshold=0.7)
    assert "no false non-matches among 3 genuine pairs" in figure.get_suptitle().replace("\n", " ")


def test_the_name_of_one_identity_is_written_once():
    c = measured([0, 2], [1, 3], [True, False], [0.1, 0.2])
    genuine, impostor = pair_gallery(c, [0, 1], flat, names=lambda row: "Ann").axes
    assert [t.get_text() for t in genuine.texts] == ["Ann"]
    assert [t.get_text() for t in impostor.texts] == ["Ann", "Ann"]  # two identities of one name


NAMES = [
    "$x_1^2$", "A$AP", "$", r"\frac{1}{2}", "a_b_c", "김민준", "Łukasz Ørsted", "line\nbreak\ttab",
    "\ud83d\ude00", "\udc80", "", " ", "W" * 300, "i" * 300, "e\u0301", "שלום", "<b>&amp;",
    "%s {0}",
]  # fmt: skip


def test_any_name_is_written_without_a_warning(tmp_path):
    c = many(20)
    for title in ("", "test_$_split_$x^", "김 " * 100):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figure = pair_gallery(
                c,
                range(20),
                flat,
                names=lambda row: NAMES[row % len(NAMES)],
                threshold=0.5,
                title=title,
            )
            plots.save(figure, tmp_path / "gallery.png")
    assert "$x_1^2$" in texts(figure)


def test_captions_do_not_touch_each_other(tmp_path):
    c = many(20)
    figure = pair_gallery(
        c, range(20), flat, names=lambda row: "WM$_"[row % 4] * 60, threshold=0.5, title="W" * 300
    )
    figure.set_dpi(120)  # as it is saved
    plots.save(figure, tmp_path / "gallery.png")
    artists = [figure._suptitle]
    artists += [a.title for a in figure.axes] + [t for a in figure.axes for t in a.texts]
    boxes = [t.get_window_extent() for t in artists]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.x1
        for other in boxes[i + 1 :]:
            assert not box.overlaps(other)
    for axes in figure.axes:
        assert not any(box.overlaps(axes.bbox) for box in boxes)


@pytest.mark.parametrize("shape", [(1, 1, 3), (8, 8, 3), (30, 10, 3), (10, 30, 3), (400, 300, 3)])
def test_images_of_any_shape_keep_their_proportions(shape, tmp_path):
    c = measured([0], [1], [True], [0.0])
    figure = pair_gallery(c, [0], lambda row: np.zeros(shape, np.uint8), threshold=0.5)
    plots.save(figure, tmp_path / "one.png")
    (axes,) = figure.axes
    for image in axes.images:
        x0, x1, y0, y1 = image.get_extent()
        assert (x1 - x0) * shape[0] == pytest.approx((y1 - y0) * shape[1])
        assert max(x1 - x0, y1 - y0) == pytest.approx(1)
    assert axes.get_aspect() == 1


def test_a_hundred_thousand_pairs_and_none(tmp_path):
    n = 100_000
    rng = np.random.default_rng(0)
    c = measured(
        rng.integers(0, 500, n), rng.integers(0, 500, n), rng.integers(0, 2, n), rng.random(n)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.save(
            pair_gallery(c, false_matches(c, 0.5), flat, threshold=0.5), tmp_path / "many.png"
        )
        none = measured([], [], [], [])
        for threshold in (None, 0.5):
            rows = sample(none) if threshold is None else false_matches(none, threshold)
            plots.save(pair_gallery(none, rows, flat, threshold=threshold), tmp_path / "none.png")


@given(st.text(max_size=60), st.floats(20, 200))
def test_a_shortened_name_keeps_its_ends_and_its_width(name, width):
    short = shorten(name, width, 7)
    assert short == "\u2026" or plots.text_width(short, 7) <= width
    whole = plots.drawable(name)
    if short != whole:
        head, _, tail = (
            short.rpartition("\u2026") if whole.count("\u2026") == 0 else (short[:1], "", "")
        )
        assert whole.startswith(head)
        assert whole.endswith(tail)


def ink(figure, folder):
    """Number of pixels that are not white."""
    return int(
        (np.asarray(Image.open(plots.save(figure, folder / "ink.png")).convert("L")) < 128).sum()
    )
