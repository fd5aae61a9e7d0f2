"""Cropping and hashing on a Dask cluster: the same crops, killed workers, folders nobody shares."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tests.helpers import assert_says, random_image, write_image

import siamese
from siamese.errors import CacheError, ConfigError, DataError, MissingDependencyError
from siamese.faces import crop_jobs, tasks
from siamese.faces.croppers.fixed_box import FixedBoxCropper
from siamese.faces.crops import CropResult, crop_files, read_crop
from siamese.faces.hashing import hash_files
from siamese.faces.packing import pack_crops
from siamese.faces.tasks import check_backend, over_processes

distributed = pytest.importorskip("distributed")
BOX = FixedBoxCropper(size=32, left=2, top=2, right=30, bottom=30)


def images(folder: Path, n: int) -> list[Path]:
    return [write_image(folder / f"{i:04d}.png", i) for i in range(n)]


def crop(paths: list[Path], cache: Path, backend: str, **settings: object) -> CropResult:
    return crop_files(paths, BOX, cache=cache, backend=backend, progress=False, **settings)


def assert_whole(result: CropResult) -> None:
    for seed, file in enumerate(result.files):
        np.testing.assert_array_equal(read_crop(file), BOX(random_image(seed)).image)


@pytest.fixture(scope="module")
def threads():
    """A cluster whose workers are threads of this process: what is patched here holds there."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        yield f"dask:{cluster.scheduler_address}"


@pytest.fixture
def processes():
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:
        yield cluster


def test_a_cluster_makes_the_same_crops(tmp_path, threads):
    paths = images(tmp_path / "in", 100)
    result = crop(paths, tmp_path / "cache", threads)
    assert result.computed == 100
    assert_whole(result)
    here = crop_files(paths, BOX, cache=tmp_path / "other", progress=False)
    assert [f.read_bytes() for f in result.files] == [f.read_bytes() for f in here.files]
    assert crop(paths, tmp_path / "cache", threads).computed == 0


def test_relative_paths_hold_for_workers_in_other_folders(tmp_path, threads, monkeypatch):
    images(tmp_path / "in", 3)
    monkeypatch.chdir(tmp_path)
    paths = [Path("in") / f"{i:04d}.png" for i in range(3)]
    seen = []
    real = crop_jobs.over_processes

    def over(work, given, **settings):
        given = list(given)
        seen.extend([given[0][2], *(job.path for job in given[0][0])])
        return real(work, given, **settings)

    monkeypatch.setattr(crop_jobs, "over_processes", over)
    assert_whole(crop(paths, Path("cache"), threads))
    assert len(seen) == 4
    assert all(path.is_absolute() for path in seen)


def test_hashes_are_those_of_this_machine_in_the_order_of_the_paths(tmp_path, threads, monkeypatch):
    paths = images(tmp_path / "in", 21)
    paths[7] = tmp_path / "none.png"
    monkeypatch.setattr("siamese.faces.hashing._CHUNK", 4)
    here, there = hash_files(paths), hash_files(paths, threads)
    assert [h for i, h in enumerate(here) if i != 7] == [h for i, h in enumerate(there) if i != 7]
    assert str(here[7]) == str(there[7])


def test_bad_images_are_reported_as_from_here(tmp_path, threads):
    paths = images(tmp_path / "in", 3)
    paths[1].write_bytes(b"no image")
    found = crop(paths, tmp_path / "cache", threads, bad_images="quarantine")
    here = crop_files(paths, BOX, cache=tmp_path / "other", bad_images="quarantine", progress=False)
    assert found.bad == here.bad
    with pytest.raises(DataError):
        crop(paths, tmp_path / "cache", threads)


def test_a_data_module_crops_on_the_cluster(tmp_path, threads, monkeypatch):
    for person in range(8):
        for i in range(3):
            write_image(tmp_path / "in" / f"p{person}" / f"{i}.png", 10 * person + i)
    asked = []
    real = tasks._dask
    monkeypatch.setattr(
        tasks, "_dask", lambda work, *rest: asked.append(work.__name__) or real(work, *rest)
    )
    settings = {"cropper": BOX, "cache": tmp_path / "cache", "progress": False}
    data = siamese.FolderDataModule(tmp_path / "in", crop_backend=threads, **settings)
    data.setup()
    assert asked == ["_hash_chunk", "_crop_chunk"]
    assert data.prepared.computed == 24
    data.manifest.save(tmp_path / "split.json")
    again = siamese.ImageDataModule(
        manifest=tmp_path / "split.json", crop_backend=threads, **settings
    )
    again.setup()
    assert asked[2:] == ["_hash_chunk"] * 3  # of each split: they are checked, none is cropped
    assert again.prepared.computed == 0


def test_a_crop_that_is_written_elsewhere_is_missed(tmp_path, threads, monkeypatch):
    paths = images(tmp_path / "in", 3)
    monkeypatch.setattr(crop_jobs, "PATIENCE", 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(crop_jobs, "write_whole", lambda path, content: None)
        with pytest.raises(CacheError) as caught:
            crop(paths, tmp_path / "cache", threads)
    assert_says(caught.value, tmp_path / "cache", "same path", threads)
    assert_whole(crop(paths, tmp_path / "cache", threads))


def test_a_crop_that_appears_late_is_waited_for(tmp_path, threads, monkeypatch):
    paths, late = images(tmp_path / "in", 1), []
    real = crop_jobs.write_whole
    monkeypatch.setattr(crop_jobs, "write_whole", lambda *given: late.append(given))
    monkeypatch.setattr(crop_jobs.time, "sleep", lambda seconds: late and real(*late.pop()))
    assert_whole(crop(paths, tmp_path / "cache", threads))


def test_a_crop_that_somebody_packs_at_once_is_seen(tmp_path, threads, monkeypatch):
    paths = images(tmp_path / "in", 3)
    monkeypatch.setattr(crop_jobs, "PATIENCE", 0.0)
    real = crop_jobs._check_seen

    def check(chunk, folder, backend):
        pack_crops(folder, progress=False)
        real(chunk, folder, backend)

    monkeypatch.setattr(crop_jobs, "_check_seen", check)
    assert_whole(crop(paths, tmp_path / "cache", threads))


def test_a_worker_that_does_not_see_the_cache_says_so(tmp_path, threads, monkeypatch):
    paths = images(tmp_path / "in", 1)
    monkeypatch.setattr("siamese.faces.crops._make_folder", lambda folder, cropper: None)
    with pytest.raises(CacheError) as caught:
        crop(paths, tmp_path / "cache", threads)
    assert_says(caught.value, tmp_path / "cache", "does not see", "same path")


def test_an_image_that_only_a_worker_misses_is_not_taken_for_missing(
    tmp_path, threads, monkeypatch
):
    paths = images(tmp_path / "in", 2)
    hashes = hash_files(paths)

    def gone(path):
        raise siamese.errors.ImageError(path, "no such file")

    monkeypatch.setattr(crop_jobs, "read_bytes", gone)
    monkeypatch.setattr("siamese.faces.hashing.hash_file", gone)
    for known in (None, hashes):
        with pytest.raises(DataError) as caught:
            crop(paths, tmp_path / "cache", threads, hashes=known, bad_images="quarantine")
        assert_says(caught.value, paths[0], "does not find it", "same path")


def test_millions_of_tasks_are_taken_a_few_at_a_time(threads):
    taken = [0]

    def tasks_to_do():
        for i in range(400):
            taken[0] += 1
            yield (i,)

    for count, _ in enumerate(over_processes(abs, tasks_to_do(), backend=threads), 1):
        assert taken[0] <= count + 8
    assert count == 400


def test_the_cluster_that_this_program_is_connected_to(tmp_path, threads):
    paths = images(tmp_path / "in", 3)
    with distributed.Client(threads.removeprefix("dask:")) as client:
        assert_whole(crop(paths, tmp_path / "cache", "dask"))
        assert client.status == "running"  # it is not ours to close
    with pytest.raises(ConfigError) as caught:
        crop(paths, tmp_path / "cache", "dask")
    assert_says(caught.value, "no Dask cluster", "dask:tcp://HOST:8786")


def test_other_backends_of_joblib(tmp_path):
    paths = images(tmp_path / "in", 3)
    assert_whole(crop(paths, tmp_path / "cache", "threading"))


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        ("dsk:tcp://a:1", ["dsk", "did you mean 'dask'"]),
        ("ray", ["register_ray"]),
        ("threading:4", ["only dask takes an address"]),
        (8, ["must be a name"]),
    ],
)
def test_unknown_backends_are_named_before_anything_is_done(tmp_path, backend, words):
    with pytest.raises(ConfigError) as caught:
        siamese.FolderDataModule(tmp_path, crop_backend=backend)
    assert_says(caught.value, *words)


def test_no_scheduler(tmp_path):
    import dask

    short = dask.config.set({"distributed.comm.timeouts.connect": "0.1s"})
    with short, pytest.raises(ConfigError) as caught:
        crop(images(tmp_path / "in", 1), tmp_path / "cache", "dask:tcp://127.0.0.1:9")
    assert_says(caught.value, "no Dask scheduler answers", "127.0.0.1:9")


def test_no_dask(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError) as caught:
        check_backend("dask")
    assert_says(caught.value, "siamese-lightning[dask]")


def test_a_worker_killed_in_the_middle_costs_nothing_but_time(tmp_path, processes, monkeypatch):
    paths, cache = images(tmp_path / "in", 200), tmp_path / "cache"
    killed = []
    real = crop_jobs._check_seen

    def check(chunk, folder, backend):
        real(chunk, folder, backend)
        if not killed:  # the first chunk is done: others are at work
            killed.append(processes.workers[0].process.process.pid)
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(crop_jobs, "_check_seen", check)
    result = crop(paths, cache, f"dask:{processes.scheduler_address}")
    assert killed
    assert result.computed == 200
    assert_whole(result)


@pytest.fixture
def short_lived():
    """A cluster of one worker for one test, which ends parts of it."""
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster


def done_until(cluster, then, work=time.sleep, given=0.05) -> list[object]:
    """Twenty tasks, and what is done with the cluster after two of them."""
    done = []
    backend = f"dask:{cluster.scheduler_address}"
    for one in over_processes(work, [(given,)] * 20, backend=backend):
        done.append(one)
        if len(done) == 2:
            then()
    return done


def test_a_scheduler_that_ends_is_an_error(short_lived):
    with pytest.raises(CacheError) as caught:
        done_until(short_lived, short_lived.close)
    assert_says(caught.value, "scheduler was lost", "run again")


def test_workers_that_all_end_are_waited_for_and_then_an_error(short_lived, monkeypatch):
    monkeypatch.setattr(tasks, "WAIT_FOR_WORKERS", 0.3)
    monkeypatch.setattr(tasks, "_ASK", 0.05)
    with pytest.raises(ConfigError) as caught:
        done_until(short_lived, lambda: short_lived.scale(0))
    assert_says(caught.value, "no worker was there for 0.3 s", "run again")


def test_a_worker_that_comes_back_in_time_goes_on(short_lived, monkeypatch):
    monkeypatch.setattr(tasks, "_ASK", 0.05)

    def away():
        short_lived.scale(0)
        threading.Timer(0.3, short_lived.scale, (1,)).start()

    assert done_until(short_lived, away) == [None] * 20


@pytest.mark.slow
def test_images_over_which_workers_are_killed_again_and_again_are_an_error(processes):
    """By the memory killer, for instance; joblib's own backend for Dask would wait for ever."""
    with pytest.raises(CacheError) as caught:
        list(
            over_processes(
                signal.raise_signal,
                [(signal.SIGKILL,)] * 4,
                backend=f"dask:{processes.scheduler_address}",
            )
        )
    assert_says(caught.value, "killed", "memory", "run again")


def test_who_takes_no_more_results_is_told_nothing_of_them(recwarn):
    """As after Ctrl-C."""
    found = over_processes(abs, [(n,) for n in range(40)], workers=2)
    assert next(found) >= 0
    found.close()
    assert not recwarn.list


def test_a_process_of_this_machine_that_is_killed_is_an_error():
    with pytest.raises(CacheError) as caught:
        list(over_processes(signal.raise_signal, [(signal.SIGKILL,)] * 4, workers=2))
    assert_says(caught.value, "killed", "memory", "run again")
