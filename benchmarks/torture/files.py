"""Feed thousands of damaged and hostile files to everything that reads one.

    python benchmarks/torture/files.py [--cases N] [--seed S] [--kinds KIND ...]

Each kind of file is mutated N times: bits, bytes and lengths of the whole; values in its JSON, with
the digest made anew; arrays in its archives; cells of its tables; pickles and ``_target_`` entries
that would write a file. A reader may read such a file or refuse it in one line. What it must not do
is counted: raise another error, end its process, take more memory or time than it is given, or run
anything. Cases depend on the seed alone. Exit code 1 where anything of that happened.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import multiprocessing
import os
import pickle
import random
import resource
import shutil
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

SECONDS = 20  # for one file, on a busy machine
MEMORY = 3 << 30  # address space beyond what a process takes that has read nothing
LONG = 300  # characters of a message

HOSTILE: list[Any] = [
    None, True, False, 0, -1, 1, 2, 99, 10**9, 10**12, 10**30, 10**400, 0.5, -0.0, 1e-320, 1e300,
    float("nan"), float("inf"), "", "x", "\0", "\ud800", "\n\x1b[2J", "../../etc/passwd",
    "x" * 10**6, [], {}, [[]], [1, 2, 3], ["x"] * 1000, {"name": "x"}, {"_target_": "os.system"},
    {"backbone": {"name": "small_res_net"}}, {"name": "dlib_res_net", "weights": "/dev/zero"},
]  # fmt: skip


# --- mutations ---


def scrambled(content: bytes, rng: random.Random) -> bytes:
    """Bits, bytes or lengths changed."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 4, 64))):
        place = rng.randrange(len(data)) if data else 0
        match rng.randrange(7):
            case 0 | 1:
                data[place : place + 1] = bytes(
                    [(data[place] if data else 0) ^ 1 << rng.randrange(8)]
                )
            case 2:
                data[place : place + 1] = bytes([rng.randrange(256)])
            case 3:
                del data[place : place + rng.choice((1, 4, 1000))]
            case 4:
                data[place:place] = rng.randbytes(rng.choice((1, 4, 100)))
            case 5:
                data[place:place] = data[place : place + rng.choice((8, 200))]
            case 6:
                del data[place:]
    return bytes(data)


def rewritten(content: Any, rng: random.Random) -> bytes:
    """JSON with values replaced, removed, added, doubled or nested."""
    content = copy.deepcopy(content)
    extra = b""
    for _ in range(rng.choice((1, 1, 2, 5))):
        places = list(containers(content))
        if not places:
            break
        place = rng.choice(places)
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        value = copy.deepcopy(rng.choice(HOSTILE))
        action = rng.randrange(8)
        if action < 5 and keys:
            place[rng.choice(keys)] = value
        elif action == 5 and keys:
            del place[rng.choice(keys)]
        elif action == 6 and isinstance(place, dict):
            place[rng.choice(("more", "name", "_target_", "size", "version"))] = value
        elif action == 7 and isinstance(place, dict) and keys:
            key = rng.choice(keys)
            extra = f"{json.dumps(key)}: {json.dumps(rng.choice((1, None, 'x')))}, ".encode()
    sys.set_int_max_str_digits(0)
    text = json.dumps(content).encode()
    if extra and text.startswith(b"{"):
        text = b"{" + extra + text[1:]
    if rng.random() < 0.02:
        text = b"[" * 10**5 + text
    return text


def containers(value: Any) -> Any:
    """Every dictionary and list in a value."""
    if isinstance(value, (dict, list)):
        yield value
        for inner in list(value.values() if isinstance(value, dict) else value)[:200]:
            yield from containers(inner)


def retabled(text: str, rng: random.Random) -> bytes:
    """CSV with cells, lines or separators changed."""
    rows = [line.split(",") for line in text.splitlines()]
    cells = ("", "x" * 10**6, '"', '"\n"', "\0", "../" * 50 + "etc/passwd", "/dev/zero", "\ud800",
             "9" * 5000, "²", "é" * 300, "=cmd|' /C calc'!A0", "1 2 3", "\r", ";")  # fmt: skip
    for _ in range(rng.choice((1, 2, 8))):
        row = rng.choice(rows)
        match rng.randrange(5):
            case 0 | 1:
                row[rng.randrange(len(row))] = rng.choice(cells)
            case 2:
                row.append(rng.choice(cells))
            case 3 if len(row) > 1:
                row.pop()
            case _:
                rows.append(list(rng.choice(rows)))
    joined = rng.choice(("\n", "\n", "\r\n", "\r")).join(",".join(row) for row in rows)
    coding = rng.choice(("utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"))
    errors = "surrogatepass" if coding.startswith("utf") else "replace"
    return joined.encode(coding, errors)


def rearranged(arrays: dict[str, np.ndarray], rng: random.Random) -> dict[str, np.ndarray]:
    """Arrays with numbers, shapes or types changed."""
    arrays = dict(arrays)
    for _ in range(rng.choice((1, 2))):
        name = rng.choice(list(arrays))
        array = np.array(arrays[name])
        match rng.randrange(9):
            case 0:
                array.flat[rng.randrange(array.size or 1) if array.size else 0 :] = 0
            case 1:
                array = array.astype(rng.choice((np.float16, np.int8, np.uint64, np.complex64)))
            case 2:
                array = array.reshape(-1)[: array.size // 2]
            case 3:
                array = array[None]
            case 4:
                array = -array
            case 5:
                array = np.zeros(0)
            case 6:
                array = np.array(rng.choice((0, 1e300, float("nan"))))
            case 7:
                array = np.array(["x"])
            case 8:
                del arrays[name]
                continue
        arrays[name] = array
    return arrays


class Payload:
    """Pickled, it writes a file where it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.canary}",)


# --- kinds of files: a sample, how it is mutated, and who reads it ---


def made_up_bundle(folder: Path) -> Path:
    """A small bundle with a calibration, and all that a run leaves beside it."""
    from siamese.backbones.small_res_net import SmallResNet
    from siamese.data.transforms import Augmentation
    from siamese.distances.euclidean import EuclideanDistance
    from siamese.evaluation.sources import describe_run
    from siamese.faces.croppers.none import NoCropper
    from siamese.inference.bundle import Bundle
    from siamese.inference.seen import Seen
    from siamese.pairs.all_pairs import AllPairs
    from siamese.storage import write_json
    from siamese.verification.thresholds import calibrate

    torch.manual_seed(0)
    numbers = np.random.default_rng(0)
    who = np.repeat(np.arange(12), 4)
    rows = numbers.normal(size=(12, 4))[who] + 0.3 * numbers.normal(size=(48, 4))
    rows /= 2 * np.linalg.norm(rows, axis=1, keepdims=True)
    calibration = calibrate(rows, who, "max_f1")
    network = SmallResNet(widths=(8,), depths=(1,), learned_size=8, gradient_cells=2)
    bundle = Bundle(
        network,
        EuclideanDistance(),
        NoCropper(32),
        calibration.point,
        {"dataset": "made up", "test": {"f1": 0.5}},
        Augmentation(),
        calibration,
        0,
        Seen(frozenset({"0" * 16}), frozenset({"1" * 16})),
    )
    bundle.save(folder / "bundle")
    calibration.save(folder / "calibration.npz")
    (folder / "checkpoints").mkdir()
    parts = bundle.components
    described = describe_run(parts, AllPairs(), calibrate_policy(), {"dataset": "made up"})
    write_json(folder / "run.json", described)
    states = {
        "state_dict": parts.tensors(),
        "epoch": 0,
        "global_step": 3,
        "optimizer_states": [{"param_groups": [{"params": [0, 1]}]}],
        "loops": {},
        "callbacks": {},
    }
    torch.save(states, folder / "checkpoints" / "last.ckpt")
    return folder


def calibrate_policy() -> Any:
    from siamese.verification.policies.max_f1 import MaxF1

    return MaxF1()


def made_up_data(folder: Path) -> None:
    """Pictures, a split of them, and the two kinds of tables."""
    from PIL import Image

    from siamese.data.manifest import SplitManifest
    from siamese.datasets.identities import IdentityTable

    files = [f"p{i}/p{i}_{j:04d}.png" for i in range(4) for j in (1, 2)]
    for number, file in enumerate(files):
        (folder / file).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / file)
    table = IdentityTable.build(folder, files, [f.split("/")[0] for f in files], "made up")
    SplitManifest.make(
        table, {"train": np.arange(4), "calibration": np.arange(4, 6), "test": np.arange(6, 8)}
    ).save(folder / "split.json")
    lines = ["path,identity,group_x", *(f"{f},{f[:2]},{i % 2}" for i, f in enumerate(files))]
    (folder / "people.csv").write_text("\n".join(lines))
    pairs = ["left,right,same,fold"]
    pairs += [f"{files[2 * i]},{files[2 * i + 1]},1,{i % 2}" for i in range(4)]
    pairs += [f"{files[i]},{files[i + 3]},0,{i % 2}" for i in range(4)]
    (folder / "pairs.csv").write_text("\n".join(pairs))
    lfw = "2\np0 1 2\np1 1 2\np0 1 p1 1\np2 1 p3 2\n"
    (folder / "pairs.txt").write_text(lfw)


def reseal(bundle: Path) -> None:
    """Make the digest anew, as whoever edits a bundle on purpose would."""
    names = ("bundle.json", "weights.safetensors")
    lines = [f"{hashlib.sha256((bundle / n).read_bytes()).hexdigest()}  {n}\n" for n in names]
    (bundle / "SHA256SUMS").write_text("".join(lines))


def bundle_bytes(home: Path, rng: random.Random) -> Path:
    name = rng.choice(("bundle.json", "bundle.json", "weights.safetensors", "SHA256SUMS"))
    path = home / "bundle" / name
    path.write_bytes(scrambled(path.read_bytes(), rng))
    return path


def bundle_values(home: Path, rng: random.Random) -> Path:
    path = home / "bundle" / "bundle.json"
    path.write_bytes(rewritten(json.loads(path.read_text()), rng))
    reseal(home / "bundle")
    return path


def bundle_weights(home: Path, rng: random.Random) -> Path:
    path = home / "bundle" / "weights.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    match rng.randrange(4):
        case 0:
            content = scrambled(content, rng)
        case 1:  # the head alone, of the same length or of another one
            head = rewritten(json.loads(content[8 : 8 + length]), rng)
            content = len(head).to_bytes(8, "little") + head + content[8 + length :]
        case 2:
            content = content[: 8 + length] + bytes(len(content) - 8 - length)
        case 3:
            size = rng.choice((0, 1, 1 << 20, 1 << 40, (1 << 64) - 1))
            content = size.to_bytes(8, "little") + content[8:]
    path.write_bytes(content)
    reseal(home / "bundle")
    return path


def checkpoint(home: Path, rng: random.Random) -> Path:
    shutil.rmtree(home / "bundle")
    path = home / "checkpoints" / "last.ckpt"
    match rng.randrange(5):
        case 0 | 1:
            path.write_bytes(scrambled(path.read_bytes(), rng))
        case 2:
            payload: Any = Payload(home.parent / "canary")
            if rng.random() < 0.5:
                path.write_bytes(pickle.dumps(payload))
            else:
                torch.save({"state_dict": payload, "epoch": 0, "global_step": 0}, path)
        case 3:  # a member of the archive
            rewrite_member(path, rng)
        case 4:
            states = torch.load(path, weights_only=True)
            key = rng.choice(list(states))
            value: Any = rng.choice(HOSTILE)
            if rng.random() < 0.3:
                key, value = "state_dict", {"backbone.x": torch.zeros(1).expand(10**13)}
            states[key] = value
            torch.save(states, path)
    return home


def rewrite_member(path: Path, rng: random.Random) -> None:
    """One member of an archive scrambled, announced anew, or packed so that it unpacks large."""
    with zipfile.ZipFile(path) as archive:
        members = {m.filename: archive.read(m) for m in archive.infolist()}
    name = rng.choice(list(members))
    packed = zipfile.ZIP_STORED
    if rng.random() < 0.3:
        members[name], packed = bytes(1 << 26), zipfile.ZIP_DEFLATED
    else:
        members[name] = scrambled(members[name], rng)
    with zipfile.ZipFile(path, "w", packed) as archive:
        for each, content in members.items():
            archive.writestr(each, content)


def run_description(home: Path, rng: random.Random) -> Path:
    shutil.rmtree(home / "bundle")
    path = home / "run.json"
    text = path.read_bytes()
    path.write_bytes(
        rewritten(json.loads(text), rng) if rng.random() < 0.8 else scrambled(text, rng)
    )
    return home


def calibration(home: Path, rng: random.Random) -> Path:
    path = home / "calibration.npz"
    action = rng.randrange(5)
    if action == 0:
        path.write_bytes(scrambled(path.read_bytes(), rng))
    elif action == 1:
        rewrite_member(path, rng)
    elif action == 2:
        np.savez(path, json=np.array([Payload(home.parent / "canary")], dtype=object))
    else:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        text = arrays.pop("json").tobytes()
        if action == 3:
            text = rewritten(json.loads(text), rng)
        else:
            arrays = rearranged(arrays, rng)
        parts: dict[str, Any] = {"json": np.frombuffer(text, dtype=np.uint8)} | arrays
        np.savez_compressed(path, **parts)
    return path


def manifest(home: Path, rng: random.Random) -> Path:
    path = home / "split.json"
    text = path.read_bytes()
    path.write_bytes(
        rewritten(json.loads(text), rng) if rng.random() < 0.8 else scrambled(text, rng)
    )
    return path


def table(name: str) -> Callable[[Path, random.Random], Path]:
    def mutate(home: Path, rng: random.Random) -> Path:
        path = home / name
        action = rng.randrange(12)
        if action == 0:
            path.unlink()
            rng.choice(
                (path.mkdir, lambda: os.mkfifo(path), lambda: path.symlink_to("/dev/zero"))
            )()
        elif action < 4:
            path.write_bytes(scrambled(path.read_bytes(), rng))
        else:
            path.write_bytes(retabled(path.read_text(), rng))
        return path

    return mutate


def read_bundle(path: Path) -> None:
    from siamese.inference.bundle import Bundle
    from siamese.inference.verifier import Verifier

    # What was accepted must be of use, too.
    picture = np.zeros((32, 32, 3), np.uint8)
    verifier = Verifier(Bundle.load(path.parent))
    verifier.verify(picture, picture)
    _ = verifier.operating_point.promise_in_words, verifier.operating_point.settings_in_words


def read_unfinished(path: Path) -> None:
    from siamese.errors import SiameseError
    from siamese.evaluation.sources import is_at_work, open_source
    from siamese.training.resuming import PreviousRun

    is_at_work(path)
    try:
        PreviousRun.find(path, Path("elsewhere"))
    except SiameseError as error:
        in_one_line(error)
    open_source(path)


def read_calibration(path: Path) -> None:
    from siamese.verification.calibration import Calibration

    found = Calibration.load(path)
    found.with_policy("eer")


def read_manifest(path: Path) -> None:
    from siamese.data.manifest import SplitManifest

    found = SplitManifest.load(path)
    for split in found.splits:
        if found.usable(split):
            found.table(split)
        found.chosen_pairs(split)
    found.shared_images()


def read_table(path: Path) -> None:
    from siamese.datasets.identities import IdentityTable

    IdentityTable.from_csv(path)


def read_pairs(path: Path) -> None:
    from siamese.datasets.pairs_file import PairsFile

    PairsFile.read(path)


KINDS: dict[str, tuple[Callable[[Path, random.Random], Path], Callable[[Path], None]]] = {
    "bundle_bytes": (bundle_bytes, read_bundle),
    "bundle_values": (bundle_values, read_bundle),
    "bundle_weights": (bundle_weights, read_bundle),
    "checkpoint": (checkpoint, read_unfinished),
    "run_description": (run_description, read_unfinished),
    "calibration": (calibration, read_calibration),
    "manifest": (manifest, read_manifest),
    "people_csv": (table("people.csv"), read_table),
    "pairs_csv": (table("pairs.csv"), read_pairs),
    "pairs_txt": (table("pairs.txt"), read_pairs),
}
# Where the file of each kind lies; None for the folder, without a bundle.
PLACES = {
    "bundle_bytes": "bundle/bundle.json",
    "calibration": "calibration.npz",
    "manifest": "split.json",
    "people_csv": "people.csv",
    "pairs_csv": "pairs.csv",
    "pairs_txt": "pairs.txt",
    "checkpoint": None,
}


# --- running them ---


def in_one_line(error: BaseException) -> None:
    """Refuse a message of several lines, or a long one."""
    text = str(error)
    if "\n" in text or "\r" in text or len(text) > 1200 or "\x1b" in text:
        raise AssertionError(f"a message of {len(text)} characters: {text[:LONG]!r}") from error


def judged(reader: Callable[[Path], None], path: Path) -> str:
    """What a reader made of a file."""
    import warnings

    from siamese.errors import SiameseError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader(path)
    except SiameseError as error:
        try:
            in_one_line(error)
        except AssertionError as wrong:
            return f"foreign: {wrong}"
        return "refused"
    except BaseException as error:
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        where = f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at else ""
        return f"foreign: {type(error).__name__}: {str(error)[:LONG]} ({where})"
    return "read"


def work(jobs: Connection, folder: str, memory: int) -> None:
    """A process that reads one mutated file after the other, within its memory."""
    home, master = Path(folder) / f"case{os.getpid()}", Path(folder) / "master"
    torch.set_num_threads(1)
    shutil.copytree(master, home, symlinks=True)
    for _, reader in KINDS.values():  # imports, before memory is counted
        for path in (master / "bundle" / "bundle.json", master):
            judged(reader, path)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    jobs.send(unread(home))
    while (job := jobs.recv()) is not None:
        kind, seed = job
        mutate, reader = KINDS[kind]
        shutil.rmtree(home)
        shutil.copytree(master, home, symlinks=True)
        path = mutate(home, random.Random(f"{kind} {seed}"))
        start = time.perf_counter()
        outcome = judged(reader, path)
        jobs.send((outcome, time.perf_counter() - start))


def unread(home: Path) -> str:
    """Which kinds are refused as they are: then nothing is proved. Empty for none."""
    wrong = []
    for kind, place in PLACES.items():
        if place is None:
            shutil.rmtree(home / "bundle", ignore_errors=True)
        if (outcome := judged(KINDS[kind][1], home / (place or ""))) != "read":
            wrong.append(f"{kind}: {outcome}")
    return "; ".join(wrong)


def torture(kinds: list[str], cases: int, seed: int) -> dict[str, Counter[str]]:
    """Outcomes of each kind, counted; details of what must not happen are printed."""
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    slowest: dict[str, float] = dict.fromkeys(kinds, 0.0)
    torch.set_num_threads(1)  # so that there is no other thread whose locks a copy would inherit
    context = multiprocessing.get_context("fork")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "master").mkdir()
        made_up_data(folder / "master")
        made_up_bundle(folder / "master")
        process, jobs = _start(context, name)
        for kind in kinds:
            for case in range(cases):
                jobs.send((kind, seed * 1_000_000 + case))
                try:
                    outcome, took = jobs.recv() if jobs.poll(SECONDS) else ("hangs", SECONDS)
                except EOFError:
                    process.join()
                    outcome, took = f"crash: exit code {process.exitcode}", 0.0
                slowest[kind] = max(slowest[kind], took)
                word = outcome.split(":")[0]
                counts[kind][word] += 1
                if word not in ("read", "refused"):
                    print(f"{kind}, case {case}: {outcome}", flush=True)
                if word in ("hangs", "crash"):
                    process.kill()
                    process.join()
                    process, jobs = _start(context, name)
            print(f"{kind}: {dict(counts[kind])}, slowest {slowest[kind]:.2f} s", flush=True)
        jobs.send(None)
        process.join()
        if (folder / "canary").exists():
            print("a payload ran")
            counts.setdefault("payloads", Counter())["ran"] += 1
    return counts


def _start(context: Any, folder: str) -> tuple[Any, Connection]:
    ours, theirs = context.Pipe()
    process = context.Process(target=work, args=(theirs, folder, MEMORY), daemon=True)
    process.start()
    theirs.close()
    if wrong := ours.recv():
        raise SystemExit(f"files that nobody touched are not read: {wrong}")
    return process, ours


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=1000, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=list(KINDS))
    args = parser.parse_args()
    counts = torture(args.kinds, args.cases, args.seed)
    wrong = sum(
        n for each in counts.values() for word, n in each.items() if word not in ("read", "refused")
    )
    total = sum(sum(each.values()) for each in counts.values())
    print(f"{total:,} files: {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
