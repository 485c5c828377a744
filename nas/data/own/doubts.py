"""What looks wrong in data on disk that can be used all the same, without decoding an image."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from nas.data.arrays import first_names
from nas.data.own.listing import Listing, is_picture, listings
from nas.data.own.parts import class_folders, part_said
from nas.data.own.pictures import holds_several
from nas.data.own.walk import files_below


def folder_doubts(path: Path) -> Iterator[str]:
    """A line each: files that nobody reads, links that are not followed or lead nowhere, classes that look like parts,
    hold several folders, are called alike or have no test image, files of several pictures. DataError: a folder that
    cannot be read."""
    found = listings(path)
    whole = files_below([str(path)], lenient=True)
    if files := _unread(found, [file for file in whole.files[0] if file not in whole.dangling]):
        names = first_names([str(file) for file in sorted(Path(file).relative_to(path) for file in files)])
        yield f"{len(files):,} files of {path} are not read, for they are no images of a class: {names}"
    if again := [os.path.relpath(link, path) for each in found for link in each.again]:
        names = first_names(again)
        yield f"{len(again):,} links of {path} are not followed, for they lead to what is read anyway: {names}"
    if whole.dangling:
        names = first_names([os.path.relpath(link, path) for link in whole.dangling])
        yield f"{len(whole.dangling):,} links of {path} lead nowhere: {names}"
    if several := [file for each in found for file in each.pictures if holds_several(file)]:
        names = first_names([os.path.relpath(file, path) for file in several])
        yield f"of {len(several):,} files of {path} that hold several pictures, the first alone is read: {names}"
    if len(found) == 1:
        yield from _like_parts(found[0])
    yield from _inside(found[0])
    yield from _called_alike(found[0])
    for test in found[1:]:
        yield from _untested(test)


def _unread(read: Sequence[Listing], files: Sequence[str]) -> list[str]:
    """Those of the files that are in no listing, by whatever link."""
    pictures = {file for each in read for file in each.pictures}
    folders = {os.path.realpath(folder) for folder in {os.path.dirname(file) for file in pictures}}
    return [
        file
        for file in files
        if file not in pictures and not (is_picture(file) and os.path.realpath(os.path.dirname(file)) in folders)
    ]


def _like_parts(classes: Listing) -> Iterator[str]:
    said = {name: part for name in classes.class_names if (part := part_said(name))}
    if len({kind for kind, _ in said.values()}) > 1 or len(said) == len(classes.class_names):
        yield (
            f"{first_names(list(said))} of {classes.root} are read as classes: if they are parts of the data, call "
            "them train and test and give each the folders of the classes"
        )


def _inside(classes: Listing) -> Iterator[str]:
    """Folders in those of the classes: they may be the classes."""
    inside = {class_folders(classes.root / name) for name in classes.class_names}
    if len(inside) == 1 and len(names := next(iter(inside))) > 1:
        yield (
            f"every class of {classes.root} ({first_names(classes.class_names)}) has the same folders, "
            f"{first_names(names)}, which are read as one: are those the classes, or parts?"
        )
        return
    places: dict[str, set[str]] = {}
    for label, folder in sorted(set(zip(classes.labels.tolist(), map(os.path.dirname, classes.pictures), strict=True))):
        name = classes.class_names[label]
        places.setdefault(name, set()).add(os.path.relpath(folder, classes.root / name).split(os.sep)[0])
    several = [f"{name} ({first_names(sorted(within))})" for name, within in places.items() if len(within) > 1]
    if several:
        yield (
            f"the images of {len(several):,} of {len(places):,} classes of {classes.root} lie in several folders, "
            f"which are read as one: {first_names(several)}; are those the classes?"
        )


def _called_alike(classes: Listing) -> Iterator[str]:
    alike: dict[str, list[str]] = {}
    for name in classes.class_names:
        alike.setdefault(name.casefold(), []).append(name)
    if several := [" and ".join(names) for names in alike.values() if len(names) > 1]:
        yield f"classes of {classes.root} whose names differ in case only: {first_names(several)}"


def _untested(test: Listing) -> Iterator[str]:
    if names := [name for name, count in zip(test.class_names, test.counts, strict=True) if not count]:
        yield f"{len(names):,} of {len(test.class_names):,} classes have no image in {test.root}: {first_names(names)}"
