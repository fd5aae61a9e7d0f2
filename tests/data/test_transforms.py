"""Augmentation is decided by the image and the seed alone.

It stays within the strengths asked for, and does nothing at strength 0.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import pickle
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import albumentations as A
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.helpers import random_image

from siamese.data import transforms
from siamese.data.shift import Shift
from siamese.data.transforms import Augmentation, draw, stable_seed

OFF = dict.fromkeys((f.name for f in dataclasses.fields(Augmentation)), 0.0)
FULL = Augmentation(gamma=0.2, blur=0.5, erasing=0.5, grey=0.3)
SEEDS = [(7, epoch, step, 0, slot) for epoch in range(2) for step in range(3) for slot in range(4)]


def test_the_same_seed_gives_the_same_image_whatever_came_before():
    image = random_image(1)
    alone = {seed: Augmentation()(image, seed) for seed in SEEDS}
    used = Augmentation()
    for seed in [*reversed(SEEDS), *SEEDS]:
        np.testing.assert_array_equal(used(image, seed), alone[seed])
    assert len({a.tobytes() for a in alone.values()}) == len(SEEDS)  # and each seed gives another


SHIFTED = Augmentation(**(OFF | {"translation": 0.1, "erasing": 0.5}))


@pytest.mark.parametrize(
    "augment", [Augmentation(), FULL, SHIFTED], ids=["default", "full", "shifted"]
)
def test_it_draws_what_an_albumentations_pipeline_draws(augment):
    pipeline = A.Compose(dataclasses.replace(augment)._steps)
    for seed in SEEDS:
        found = augment(random_image(1), seed)
        pipeline.set_random_state(augment._numpy, augment._python)
        pipeline.py_random = random.Random(0)  # for its own p = 1
        augment._start(seed)
        np.testing.assert_array_equal(pipeline(image=random_image(1))["image"], found)


OURS = Augmentation(**(OFF | {"translation": 0.25, "contrast": 0.1}))
THEIRS = A.Compose([Shift(0.25), A.RandomBrightnessContrast((0, 0), (-0.1, 0.1), p=1)])


@pytest.mark.parametrize("augment", [OURS, partial(draw, THEIRS)], ids=["ours", "a pipeline"])
def test_what_one_step_draws_tells_nothing_about_the_next(augment):
    image = np.full((32, 32, 3), 100, np.uint8)
    image[:, :, 0] += np.arange(32, dtype=np.uint8)[:, None]
    drawn = [augment(image, (1, number))[16, 16, :2].astype(float) for number in range(2000)]
    ramp, flat = np.array(drawn).T
    shift = ramp / flat
    assert shift.std() > 0.03
    assert flat.std() > 3
    assert abs(np.corrcoef(shift, flat)[0, 1]) < 0.1  # its standard deviation is 0.022


def test_the_image_that_is_augmented_stays_as_it_was():
    image = random_image(1)
    before = image.copy()
    for seed in SEEDS:
        result = FULL(image, seed)
        assert result.shape == image.shape
        assert result.dtype == np.uint8
        assert result.flags.c_contiguous
    np.testing.assert_array_equal(image, before)


def test_another_process_gives_the_same_images():
    code = """
import hashlib
from siamese.data.transforms import Augmentation
from tests.data.test_transforms import FULL, SEEDS
from tests.helpers import random_image
for seed in reversed(SEEDS):
    print(hashlib.sha256(FULL(random_image(1), seed).tobytes()).hexdigest())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[::-1] == [
        hashlib.sha256(FULL(random_image(1), seed).tobytes()).hexdigest() for seed in SEEDS
    ]


def test_the_global_random_state_is_neither_read_nor_changed():
    np.random.seed(1)  # noqa: NPY002 - the very state that must not matter
    one = FULL(random_image(1), SEEDS[0])
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    np.random.seed(2)  # noqa: NPY002
    np.testing.assert_array_equal(FULL(random_image(1), SEEDS[0]), one)
    np.random.seed(1)  # noqa: NPY002
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_it_travels_to_other_processes():
    FULL(random_image(1), SEEDS[0])  # with everything built
    again = pickle.loads(pickle.dumps(FULL))
    assert again == FULL
    np.testing.assert_array_equal(again(random_image(1), SEEDS[1]), FULL(random_image(1), SEEDS[1]))


def test_threads_that_draw_at_once_do_not_disturb_each_other():
    # Hundreds of switches between the threads in each image.
    interval = sys.getswitchinterval()
    expected = [FULL(random_image(1), seed) for seed in SEEDS]
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda seed: FULL(random_image(1), seed), SEEDS))
    finally:
        sys.setswitchinterval(interval)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_process_that_is_forked_while_a_thread_draws_can_draw():
    with transforms._DRAWING:  # as by another thread
        child = os.fork()
        if not child:
            os._exit(0 if transforms._DRAWING.acquire(timeout=5) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_strengths_of_0_change_nothing():
    for seed in SEEDS:
        np.testing.assert_array_equal(Augmentation(**OFF)(random_image(1), seed), random_image(1))


@pytest.mark.parametrize("name", OFF)
def test_each_strength_alone_changes_images(name):
    augment = Augmentation(**OFF | {name: 0.5 if name not in ("rotation", "shear") else 20.0})
    changed = [
        not np.array_equal(augment(random_image(1), seed), random_image(1)) for seed in SEEDS
    ]
    assert any(changed)


@pytest.mark.parametrize("name", OFF)
def test_the_largest_allowed_strength_works(name):
    top = {"rotation": 180.0, "shear": 80.0}.get(name, 1.0)
    augment = Augmentation(**OFF | {name: top})
    for seed in SEEDS:
        assert augment(random_image(1), seed).shape == random_image(1).shape


@pytest.mark.parametrize("name", OFF)
@pytest.mark.parametrize("value", [-0.01, 181.0, float("nan")])
def test_a_strength_out_of_range_is_named(name, value):
    with pytest.raises(ValueError, match=name):
        Augmentation(**{name: value})


def test_a_flip_is_a_mirror_in_its_share_of_cases():
    augment = Augmentation(**OFF | {"flip": 0.3})
    mirrored = 0
    for step in range(600):
        result = augment(random_image(1), (0, 0, step, 0, 0))
        if not np.array_equal(result, random_image(1)):
            np.testing.assert_array_equal(result, random_image(1)[:, ::-1])
            mirrored += 1
    assert abs(mirrored - 180) < 5 * np.sqrt(600 * 0.3 * 0.7)


def test_grey_takes_the_colour_out():
    grey = Augmentation(**OFF | {"grey": 1.0})(random_image(1), SEEDS[0])
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (grey[..., 1] == grey[..., 2]).all()
    assert grey.std() > 5


def test_a_shift_stays_within_its_share():
    image = np.zeros((101, 101, 3), dtype=np.uint8)
    image[48:53, 48:53] = 255
    centres = []
    for seed in [(0, 0, step, 0, 0) for step in range(60)]:
        shifted = Augmentation(**OFF | {"translation": 0.1})(image, seed)
        centres.append(np.argwhere(shifted[..., 0] > 127).mean(axis=0) - 50)
    furthest = np.abs(centres).max(axis=0)
    assert (furthest <= 11).all()
    assert (furthest >= 6).all()


def test_brightness_goes_either_way_by_its_share_of_the_range():
    image = np.full((8, 8, 3), 128, dtype=np.uint8)
    means = [
        Augmentation(**OFF | {"brightness": 0.2})(image, (0, 0, step, 0, 0)).mean()
        for step in range(100)
    ]
    assert 128 - 52 <= min(means) < 128 - 30
    assert 128 + 30 < max(means) <= 128 + 52


@given(st.lists(st.integers(0, 2**31), min_size=5, max_size=5), st.integers(0, 4))
def test_neighbouring_seeds_mix_to_different_numbers(numbers, place):
    other = numbers.copy()
    other[place] += 1
    assert 0 <= stable_seed(*numbers) < 2**32
    assert stable_seed(*numbers) == stable_seed(*numbers)
    assert stable_seed(*numbers) != stable_seed(*other)


def test_stable_seeds_are_the_same_on_every_machine():
    seeds = {stable_seed(1, e, s, 0, i) for e in range(4) for s in range(50) for i in range(20)}
    assert len(seeds) == 4000
    # NumPy promises SeedSequence's numbers not to change; see
    # numpy/random/tests/test_seed_sequence.py for their origin.
    assert stable_seed(0, 1, 2, 3) == int(np.random.SeedSequence([0, 1, 2, 3]).generate_state(4)[0])


def test_a_shift_alone_moves_whole_pixels_and_repeats_the_border():
    image, met = np.arange(40 * 60 * 3).reshape(40, 60, 3).astype(np.uint8), set()
    augment = Augmentation(**(OFF | {"translation": 0.05}))
    for seed in range(300):
        found = augment(image, (seed,))
        moves = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-3, 4)
            if np.array_equal(
                found,
                image[np.clip(np.arange(40) - down, 0, 39)][
                    :, np.clip(np.arange(60) - right, 0, 59)
                ],
            )
        ]
        assert len(moves) == 1
        met.update(moves)
    assert len(met) == 5 * 7  # up to 0.05 of either side, and no further


def test_an_augmentation_with_a_shift_reaches_other_processes():
    augment = pickle.loads(pickle.dumps(SHIFTED))
    SHIFTED(random_image(0), (1,))
    again = pickle.loads(pickle.dumps(SHIFTED))
    for one in (augment, again):
        np.testing.assert_array_equal(one(random_image(1), (5,)), SHIFTED(random_image(1), (5,)))
