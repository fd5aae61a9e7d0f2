"""Random cases that several tests draw from."""

import numpy as np
import torch
from hypothesis import strategies as st


@st.composite
def labelled_distances(draw, distinct=(1, 8), size=(2, 40)):
    """Distances from a small pool, of both kinds: ties within and across the kinds are the rule."""
    n = draw(st.integers(*size))
    pool = draw(st.lists(st.floats(0, 2, width=32), min_size=distinct[0], max_size=distinct[1]))
    distances = draw(st.lists(st.sampled_from(pool), min_size=n, max_size=n))
    same = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    same[0], same[1] = True, False
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    return np.array(distances, dtype=dtype), np.array(same)


def crowd(n=700, identities=90, d=48, seed=0):
    """(n, d) float32 rows around a centre for each identity, and (n,) labels, in no order."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, identities, n)
    rows = rng.normal(size=(identities, d))[labels] + rng.normal(size=(n, d))
    return torch.tensor(rows, dtype=torch.float32), labels
