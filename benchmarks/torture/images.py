"""Damage valid images of every format, thousands of times, and see what becomes of each.

    python benchmarks/torture/images.py [--mutations 5000] [--batch 250] [--seconds 120] [--bombs]

Every damaged file is read and cropped as in preparing a data set. It must be used, or left out with
a reason; anything else (another exception, a process that ends or takes more than the seconds a
batch may take) is named by its number, and the exit code is 1. A number always stands for the same
file. Batches run in processes of their own. With --bombs also small files that unpack to many
pixels, through every cropper that is installed: seconds and megabytes of each.
"""

from __future__ import annotations

import argparse
import collections
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, features

from siamese.errors import ImageError, MissingDependencyError
from siamese.faces.croppers.base import Cropper
from siamese.faces.croppers.dlib_croppers import DlibCnnCropper, DlibHogCropper
from siamese.faces.croppers.none import NoCropper
from siamese.faces.images import read_image
from siamese.inference.pretrained import CROPPER


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def valid_images() -> dict[str, bytes]:
    """One of every variety that can be written here."""
    coarse = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((72, 90), Image.Resampling.BICUBIC)
    grey, exif = image.convert("L"), Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "somebody"
    frames: dict[str, object] = {"save_all": True, "append_images": [image.rotate(5)] * 3}
    found = {
        "jpeg": encode(image, "JPEG", exif=exif),
        "progressive jpeg": encode(image, "JPEG", progressive=True),
        "grey jpeg": encode(grey, "JPEG"),
        "cmyk jpeg": encode(image.convert("CMYK"), "JPEG"),
        "mpo": encode(image, "MPO", **frames),
        "png": encode(image, "PNG", exif=exif),
        "palette png": encode(image.convert("P"), "PNG", transparency=bytes(range(200))),
        "16-bit png": encode(
            Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30)), "PNG"
        ),
        "apng": encode(image, "PNG", **frames),
        "bmp": encode(image, "BMP"),
        "palette bmp": encode(image.convert("P"), "BMP"),
        "gif": encode(image, "GIF", **frames),
        "ppm": encode(image, "PPM"),
        "pgm": encode(grey, "PPM"),
        "plain ppm": b"P3 4 4 255\n" + b" ".join(b"%d" % (5 * n) for n in range(48)),
        "webp": encode(image, "WEBP", exif=exif),
        "lossless webp": encode(image, "WEBP", lossless=True),
        "animated webp": encode(image, "WEBP", **frames),
        "tiff": encode(image, "TIFF", exif=exif),
    }
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"):
        found[f"{compression} in tiff"] = encode(image, "TIFF", compression=compression)
    found["fax in tiff"] = encode(image.convert("1"), "TIFF", compression="group4")
    if features.check("avif"):
        found["avif"] = encode(image, "AVIF")
    try:
        import pillow_heif
    except ImportError:
        return found
    pillow_heif.register_heif_opener()
    return found | {"heic": encode(image, "HEIF")}


def damaged(number: int, images: dict[str, bytes]) -> tuple[str, bytes]:
    """The variety, and the damaged file of a number."""
    draw = np.random.default_rng(number)
    names = list(images)
    name = names[number % len(names)]
    content = bytearray(images[name])
    for _ in range(int(draw.integers(1, 5))):
        size = len(content)
        if size < 16:
            break
        # Headers are where it matters most.
        place = int(draw.integers(0, min(size, 200) if draw.random() < 0.6 else size))
        length = int(draw.integers(1, 40))
        match int(draw.integers(0, 8)):
            case 0:
                content[place] ^= 1 << int(draw.integers(0, 8))
            case 1:
                content[place : place + length] = draw.bytes(length)
            case 2:  # numbers that are counts, sizes and places
                value = int(draw.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 65535, size]))
                order = "little" if draw.random() < 0.5 else "big"
                content[place : place + 4] = value.to_bytes(4, order)  # type: ignore[arg-type]
            case 3:
                del content[place : place + length]
            case 4:
                content[place:place] = content[place : place + length] * int(draw.integers(1, 30))
            case 5:
                del content[max(place, 16) :]
            case 6:  # the end of another variety
                other = images[names[int(draw.integers(0, len(names)))]]
                content[place:] = other[min(place, len(other)) :]
            case 7:
                content[place : place + length] = bytes([int(draw.choice([0, 255]))]) * length
    return name, bytes(content)


def one(number: int, images: dict[str, bytes], folder: Path, croppers: list[Cropper]) -> str:
    """What became of a file: used, left out, or what else it did."""
    name, content = damaged(number, images)
    path = folder / f"{number}.jpg"
    path.write_bytes(content)
    try:
        image = read_image(path)
        for cropper in croppers:
            crop = cropper(image).image
            assert crop.shape == (cropper.size, cropper.size, 3)
    except ImageError as error:
        return "left out" if error.reason and "\n" not in str(error) else f"no reason: {error!r}"
    except Exception as error:
        return f"{name}: {type(error).__name__}: {error}"
    finally:
        path.unlink()
    return f"used {name}"


def batch(start: int, count: int) -> None:
    """A process of its own: one JSON line with what became of each file."""
    warnings.simplefilter("ignore")
    images = valid_images()
    croppers: list[Cropper] = [NoCropper(size=32)]
    hog = DlibHogCropper(size=32)
    try:
        hog.check()
        croppers.append(hog)
    except MissingDependencyError:
        pass
    found: collections.Counter[str] = collections.Counter()
    wrong, slowest = {}, (0.0, -1)
    with tempfile.TemporaryDirectory() as folder:
        for number in range(start, start + count):
            print(number, file=sys.stderr, flush=True)  # the last one is where it ended
            begin = time.perf_counter()
            what = one(number, images, Path(folder), croppers)
            slowest = max(slowest, (time.perf_counter() - begin, number))
            found[what] += 1
            if not what.startswith(("used", "left out")):
                wrong[number] = what
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(json.dumps({"found": found, "wrong": wrong, "slowest": slowest, "peak": peak}))


def bomb(name: str) -> None:
    """A process of its own: read and crop the black image, and say what it cost."""
    croppers: dict[str, Cropper] = {
        "dlib_hog": DlibHogCropper(),
        "dlib_hog, rotations": DlibHogCropper(rotations=True),
        "dlib_hog, max_upsample=4": DlibHogCropper(max_upsample=4, upsample=4),
        "dlib_aligned, rotations": CROPPER,
        "dlib_cnn": DlibCnnCropper(),
    }
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.png"
        Image.new("1", (9400, 9400)).save(path)
        size = path.stat().st_size
        begin = time.perf_counter()
        image = read_image(path)
        croppers[name](image)
        seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{name}: {size:,} bytes, 9400 x 9400 pixels: {seconds:.1f} s, {peak:,} MB")


def child(words: list[str], seconds: float) -> subprocess.CompletedProcess[str] | str:
    """What a process of its own printed, or how it ended and over which file."""
    command = [sys.executable, __file__, *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        said = error.stderr.decode() if isinstance(error.stderr, bytes) else (error.stderr or "")
        return f"hangs at {(said.split() or ['its start'])[-1]}"
    if done.returncode:
        return f"ends with {done.returncode} after {done.stderr[-300:]!r}"
    return done


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mutations", type=int, default=5000)
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--bombs", action="store_true")
    parser.add_argument("--from", type=int, dest="start", help=argparse.SUPPRESS)
    parser.add_argument("--bomb", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.bomb:
        bomb(args.bomb)
        return 0
    if args.start is not None:
        batch(args.start, args.batch)
        return 0
    found: collections.Counter[str] = collections.Counter()
    wrong: list[str] = []
    slowest, peak = (0.0, -1), 0
    for start in range(0, args.mutations, args.batch):
        count = min(args.batch, args.mutations - start)
        done = child(["--from", str(start), "--batch", str(count)], args.seconds)
        if isinstance(done, str):
            wrong.append(f"{start}-{start + count - 1}: {done}")
            continue
        result = json.loads(done.stdout)
        found.update(result["found"])
        wrong += [f"{number}: {what}" for number, what in result["wrong"].items()]
        slowest = max(slowest, tuple(result["slowest"]))
        peak = max(peak, result["peak"])
    used = sum(n for what, n in found.items() if what.startswith("used"))
    print(
        f"{args.mutations:,} damaged files: {used:,} used, {found['left out']:,} left out with a "
        f"reason, {len(wrong)} wrong; the slowest took {slowest[0]:.2f} s, {peak:,} MB at most"
    )
    for line in wrong:
        print(line)
    for name in (
        (
            "dlib_hog",
            "dlib_hog, rotations",
            "dlib_hog, max_upsample=4",
            "dlib_aligned, rotations",
            "dlib_cnn",
        )
        if args.bombs
        else ()
    ):
        done = child(["--bomb", name], 600)
        print(done if isinstance(done, str) else done.stdout.strip(), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
