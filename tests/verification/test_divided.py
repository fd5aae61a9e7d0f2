"""All pairs divided over processes: the same bits as in one, whatever their number."""

import math

import numpy as np
import pytest
import torch
from tests.processes import run_in

import siamese
from siamese.distances.base import DISTANCES
from siamese.errors import CalibrationError
from siamese.processes import together
from siamese.verification import measure
from siamese.verification.bootstrap import bootstrap_identities
from siamese.verification.confusion import count_verdicts
from siamese.verification.groups import evaluate_groups
from siamese.verification.policies.fmr import Fmr
from siamese.verification.policies.max_f1 import MaxF1
from siamese.verification.policies.recall import Recall
from siamese.verification.streaming import passes, stream
from siamese.verification.streaming.stream import StreamedDistances
from siamese.verification.thresholds import calibrate_pairs

POLICIES = (MaxF1(), Fmr(0.2), MaxF1(weights="people"), Fmr(0.3, confidence=0.5), Recall(0.7))


def case(number):
    """Rows on a lattice: distances tie, rows coincide; from one tile to some hundreds."""
    rng = np.random.default_rng(number)
    n = int(rng.integers(30, 60))
    rows = rng.integers(-3, 4, size=(n, 2)) / 2 + (100 if number % 3 == 0 else 0)
    who = rng.integers(0, rng.integers(6, 14), size=n)
    who[:3] = 0, 0, 1
    tile = int(rng.choice([9, 17, 30, 200]))
    distance = ("euclidean", "cosine")[number % 2]
    return torch.from_numpy(rows.astype(np.float32) + 1e-3), who, DISTANCES.build(distance), tile


def plain(value):
    """Arrays and dataclasses as what can be compared bit for bit, and sent."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, (tuple, list)):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return {name: plain(getattr(value, name)) for name in value.__dataclass_fields__}
    return repr(value)


def everything(number):
    """All that can be asked of the pairs of one case."""
    rows, who, distance, tile = case(number)
    policy = POLICIES[number % len(POLICIES)]
    pairs = StreamedDistances(rows, who, distance, tile)
    try:
        calibrated = calibrate_pairs(pairs, policy, probability=None)
    except CalibrationError as error:
        calibrated = str(error)
    threshold = float(pairs.choose(MaxF1()).threshold)
    shown = []
    pairs.accepted(threshold, lambda i, j: shown.append((i.copy(), j.copy())))
    i, j = (np.concatenate(sides) for sides in zip(*shown, strict=True))
    groups = np.where(who % 3 == 0, "", np.where(np.arange(len(who)) % 2, "a", "b"))
    return plain(
        {
            "calibrated": calibrated,
            "choices": [pairs.choose(policy) for policy in (*POLICIES[:2], POLICIES[4])],
            "eer": pairs.eer(),
            "verdicts": [pairs.count_verdicts(t) for t in (-1.0, 0.0, threshold, math.inf)],
            "curve": pairs.curve(),
            "weighted": pairs.curve("people"),
            "draws": bootstrap_identities(pairs),
            "tables": pairs.by_identity(np.array([threshold / 2, threshold])),
            "two": pairs.by_two_identities(np.array([threshold])),
            "extremes": pairs.extremes(7),
            "show": pairs.pairs_to_show(5).distances,
            "accepted": sorted(
                zip(np.minimum(i, j).tolist(), np.maximum(i, j).tolist(), strict=True)
            ),
            "groups": evaluate_groups(pairs, groups, threshold),
        }
    )


def _cases(numbers):
    with siamese.across_processes():
        return [everything(number) for number in numbers]


@pytest.mark.parametrize(("count", "limit"), [(3, stream.LIMIT), (2, 5)])
def test_any_number_of_processes_finds_the_same_bits(count, limit, monkeypatch):
    monkeypatch.setattr(stream, "LIMIT", limit)  # with few, cells are refined twice
    numbers = range(count + 1)
    alone = [everything(number) for number in numbers]
    for found in run_in(count, _cases, numbers):
        for number, (here, there) in enumerate(zip(found, alone, strict=True)):
            assert here.keys() == there.keys()
            for name in here:
                assert here[name] == there[name], (number, name)


def _expected(rows, who):
    with siamese.across_processes() as processes:
        pairs = StreamedDistances(rows, who, DISTANCES.build("euclidean"), 40)
        pairs.expect_draws()
        found = pairs.choose(MaxF1())
        tiles = len(processes.share(pairs._tiles.every()))
        return plain([found, pairs.curve(), bootstrap_identities(pairs)]), tiles


def test_what_is_counted_beside_the_first_pass_is_that_of_one_process(monkeypatch):
    """With enough rows the tables of identities are filled in the pass that counts all pairs."""
    for name in ("SAMPLE", "GENUINE"):
        monkeypatch.setattr(stream, name, 64)
    rng = np.random.default_rng(0)
    who = np.arange(400) // 5
    rows = torch.from_numpy(rng.normal(size=(80, 6))[who] + 0.8 * rng.normal(size=(400, 6)))
    alone, every = _expected(rows, who)
    (one, first), (other, second) = run_in(2, _expected, rows, who)
    assert one == other == alone
    assert first + second == every
    assert abs(first - second) <= 1


def _four_rows():
    rows, who = torch.tensor([[0.0], [1.0], [1.5], [9.0]]), np.array([0, 0, 1, 1])
    with siamese.across_processes():
        pairs = StreamedDistances(rows, who, DISTANCES.build("euclidean"))
        return len(pairs._tiles.every()), pairs.choose(MaxF1()), pairs.extremes(2)


def test_a_process_without_a_tile_takes_part():
    alone = _four_rows()
    assert alone[0] == 3
    for tiles, choice, extremes in run_in(4, _four_rows):
        assert (tiles, choice) == alone[:2]
        assert plain(extremes) == plain(alone[2])


def _calibrated(rows, who):
    measure.HELD = 100
    with siamese.across_processes():
        found = siamese.calibrate(rows, who)
    assert together().count == 1
    return found.threshold, found.point.to_dict()


def test_calibrating_in_two_processes_agrees_with_every_pair_by_itself():
    rng = np.random.default_rng(3)
    who = np.arange(120) // 4
    rows = (rng.normal(size=(30, 4))[who] + 0.5 * rng.normal(size=(120, 4))).astype(np.float32)
    one, other = run_in(2, _calibrated, rows, who)
    assert one == other
    i, j = np.triu_indices(120, 1)
    distances = DISTANCES.build("euclidean").measure(rows[i], rows[j]).numpy()
    same = who[i] == who[j]
    best = siamese.max_f1(distances, same)
    assert count_verdicts(distances, same, one[0]) == best.confusion
    assert one[0] == pytest.approx(best.threshold, abs=1e-6)


class _Saturated(type(DISTANCES.build("euclidean"))):
    squared = False

    def matrix(self, a, b):
        found = super().matrix(a, b)
        return torch.where(found > 5, torch.full_like(found, torch.nan), found)


def _nan():
    rows = torch.zeros(40, 1)
    rows[-1] = 9.0
    with siamese.across_processes():
        pairs = StreamedDistances(rows, np.arange(40) // 2, _Saturated(), 10)
        try:
            pairs.choose(MaxF1())
        except CalibrationError as error:
            return str(error)


def test_all_processes_learn_of_an_error_of_one():
    DISTANCES.register("saturated_of_a_test")(_Saturated)
    one, other = run_in(2, _nan)
    assert one == other
    assert "NaN" in one


def _told(size):
    """What each call of a function that is shown all pairs gets, and of how many tiles at once."""
    passes._ROUND, passes._SHOWN = 2 * 17 * 17, size
    rows, who, distance, _ = case(1)
    told, tiles_at_once = [], []
    each = passes.each

    def counted(tiles, work, places):
        tiles_at_once.append(len(places))
        return each(tiles, work, places)

    passes.each = counted
    with siamese.across_processes():
        pairs = StreamedDistances(rows, who, distance, 17)
        pairs.accepted(1e9, lambda i, j: told.append(np.stack([i, j], axis=1)))
    return told, max(tiles_at_once, default=0)


def test_pairs_are_shown_in_blocks_of_pairs_whatever_a_tile_holds():
    alone = np.concatenate(_told(50)[0])
    for count in (2, 3):
        found = run_in(count, _told, 50)
        assert len({plain(told)[0][2] for told, _ in found}) == 1
        for told, at_once in found:
            assert max(map(len, told)) <= 50
            assert at_once <= 2 * count
            assert sorted(map(tuple, np.concatenate(told))) == sorted(map(tuple, alone))
