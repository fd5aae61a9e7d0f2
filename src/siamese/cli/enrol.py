"""`siamese enrol GALLERY PEOPLE`: photographs of people into a gallery, which is searched later."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from siamese.cli import options
from siamese.cli.options import LATEST, PRETRAINED
from siamese.errors import ConfigError, printable

if TYPE_CHECKING:
    from siamese.inference.gallery.gallery import Gallery
    from siamese.inference.gallery.results import Enrolment

HELP = "enrol people into a gallery, to be searched"
DESCRIPTION = (
    "Enrol photographs of people into a gallery, which siamese search looks through. Photographs "
    "that are enrolled already are passed over: where it is stopped, the same command goes on. The "
    "gallery keeps embeddings, names and file names, no photographs."
)
_EVERY = 200  # photographs between two savings; less is lost by a kill where it is smaller
_SHOWN = 3  # examples of what was left out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument(
        "gallery", metavar="GALLERY", help="folder of the gallery; a new one is made"
    )
    parser.add_argument(
        "photographs",
        nargs="*",
        metavar="PEOPLE",
        help="a folder of one folder per person, or a CSV or Parquet file (path, identity); with "
        "--name photographs of one person",
    )
    parser.add_argument("--name", metavar="NAME", help="whom the photographs show")
    parser.add_argument(
        "--remove",
        metavar="NAME",
        action="append",
        default=[],
        help="take a person out of the gallery and its files; may be given several times",
    )
    parser.add_argument("--list", action="store_true", help="print who is enrolled")
    parser.add_argument(
        "--bundle",
        metavar="DIR",
        help=f"bundle, .onnx file, or folder of a training run ({LATEST} is the newest), or "
        f"{PRETRAINED} (default: the gallery's; of a new one {PRETRAINED})",
    )
    parser.add_argument("--root", metavar="DIR", help="where the photographs of a CSV file lie")
    options.add_low_quality(parser, "photographs of low quality: say so, or leave them out")
    options.add_jobs(parser)
    options.add_plugin(parser)
    options.add_device(parser)
    options.add_json(parser, "people, photographs, added, known, removed, left_out, notes")


def run(args: argparse.Namespace) -> int:
    """Print what became of the photographs."""
    options.import_plugins(args)
    from siamese.inference.gallery.without_network import erase, people_of
    from siamese.inference.looks import check_jobs

    check_jobs(args.jobs)  # before a new gallery is made
    wanted = _people(args)
    # People can be taken out, and seen, where the network is no more.
    removed = erase(args.gallery, args.remove) if args.remove else {}
    done: list[Enrolment] = []
    if wanted:
        gallery = open_gallery(args.gallery, args, new=True)
        new = gallery.folder is None
        if new:
            gallery.save(args.gallery)
        with gallery.exclusive():
            done = gallery.enrol_people(
                wanted, save_every=_EVERY, jobs=args.jobs, progress=not args.json
            )
        if new and not len(gallery):  # a mistake leaves nothing behind
            shutil.rmtree(Path(args.gallery).expanduser(), ignore_errors=True)
            _print({}, removed, done, args)
            return 2
    _print(people_of(args.gallery), removed, done, args)
    return 2 if wanted and not any(one.added or one.known for one in done) else 0


def _people(args: argparse.Namespace) -> dict[str, list[str]]:
    """Names, and the photographs of each."""
    given = args.photographs
    if args.name is not None:
        if not given:
            raise ConfigError(f"no photographs of {args.name!r}: siamese enrol GALLERY PHOTO ...")
        return {args.name: [photo for each in given for photo in _photographs(each)]}
    if not given:
        if not args.remove and not args.list:
            raise ConfigError(
                "nobody to enrol: give a folder of one folder per person, or photographs of one "
                "person with --name (or --remove NAME, or --list)"
            )
        return {}
    from siamese.datasets.given_path import is_table, table_at

    if len(given) > 1 or (Path(given[0]).is_file() and not is_table(given[0])):
        raise ConfigError(
            "whom do these photographs show? give --name NAME, or a folder of one folder per person"
        )
    table = table_at(given[0], args.root)
    names: dict[str, list[str]] = {}
    for path, name in zip(table.paths, table.identities, strict=True):
        names.setdefault(table.spellings.get(name, name), []).append(str(path))
    return names


def _photographs(path: str) -> list[str]:
    """Those in a folder; a file as it is."""
    if not Path(path).is_dir():
        return [path]
    from siamese.datasets.identities import IdentityTable

    return [str(photo) for photo in IdentityTable.from_heap(path).paths]


def open_gallery(folder: str, args: argparse.Namespace, new: bool = False) -> Gallery:
    """The gallery in a folder; where none is there, and one may be made, a new one in memory.

    ``args`` has the options ``bundle``, ``device`` and ``low_quality``.
    """
    from siamese.inference.gallery.gallery import Gallery
    from siamese.inference.gallery.stored import INDEX, read_index

    place = Path(folder).expanduser()
    there = (place / INDEX).exists()
    name = args.bundle
    if name is None:
        name = PRETRAINED if new and not there else read_index(place).bundle
    verifier = options.open_verifier(name, low_quality=args.low_quality, device=args.device)
    return Gallery.load(place, verifier) if there or not new else Gallery(verifier)


def _print(
    people: dict[str, int], removed: dict[str, int], done: list[Enrolment], args: argparse.Namespace
) -> None:
    left_out = {photo: why for one in done for photo, why in one.left_out.items()}
    notes = {photo: list(said) for one in done for photo, said in one.notes.items()}
    added, known = sum(one.added for one in done), sum(one.known for one in done)
    if args.json:
        facts: dict[str, Any] = {
            "people": people if args.list else len(people),
            "photographs": sum(people.values()),
            "added": added,
            "known": known,
            "removed": removed,
            "left_out": left_out,
            "notes": notes,
        }
        print(json.dumps(facts, allow_nan=False))
        return
    if args.list:
        for name, count in people.items():
            print(f"{printable(name)}\t{count}")
        return
    for name, count in removed.items():
        print(f"removed: {printable(name)}, {_photos(count)}; they are in no file any more")
    if done:
        print(f"enrolled: {_photos(added)}" + (f"; {known:,} were there" if known else ""))
    _few("left out", left_out.items())
    _few("note", ((photo, "; ".join(said)) for photo, said in notes.items()))
    counts = f"{_number(len(people), 'person', 'people')}, {_photos(sum(people.values()))}"
    if people or not done:
        print(f"gallery: {options.shown(args.gallery)} ({counts})")
    if any(one.added or one.known for one in done):
        print(f"next: siamese search {args.gallery} PHOTOGRAPH")


def _few(what: str, each: Iterable[tuple[str, str]]) -> None:
    """Some examples, and how many more there are."""
    lines = [printable(why if photo in why else f"{photo}: {why}") for photo, why in each]
    for line in lines[:_SHOWN]:
        print(f"{what}: {line}")
    if len(lines) > _SHOWN:
        print(f"{what}: {len(lines) - _SHOWN:,} more (--json lists all)")


def _photos(count: int) -> str:
    return _number(count, "photograph", "photographs")


def _number(count: int, one: str, many: str) -> str:
    return f"{count:,} {one if count == 1 else many}"
