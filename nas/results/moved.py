"""Data that lie elsewhere than when a folder of work began with them: found again by their checksum."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.data.load import placed
from nas.errors import RunError
from nas.machine.folders import WorkFolder, read_settings
from nas.search.search import Search, arrays_file, run_folder
from nas.search.studies import load_data_of
from nas.training.training import Training, load_data, training_folder


def move_data(path: Path, dataset: str) -> None:
    """From now on the run or training in that folder, and the trainings that a run has confirmed, read their data from
    there. Raises DataError, and changes nothing, where these are other data; RunError where the folder is in use, or
    has its data in it."""
    path = path if path.is_dir() else path.parent  # its pareto.json
    content = read_settings(path)
    place = placed(dataset)
    if content is not None and content.get("what") == Training.what:
        training = training_folder(path)
        load_data(replace(training.read(), dataset=place))
        _renew(training, place)
        return
    folder = run_folder(path)
    search = folder.read()
    if arrays_file(folder).exists():
        raise RunError(f"{path} searched arrays given from Python, which lie in it; leave the data set out")
    load_data_of(replace(search, dataset=place), folder)
    _renew(folder, place)
    for settings in sorted((path / "confirmed").glob("*/settings.json")):
        _renew(training_folder(settings.parent), place)


def _renew(folder: WorkFolder[Any], dataset: str) -> None:
    with folder.lock("training" if folder.kind is Training else "run", wait=False) as held:
        if not held:
            raise RunError(f"{folder.path} is in use; wait for it")
        settings: Search | Training = folder.read()
        if settings.dataset != dataset:
            folder.renew(replace(settings, dataset=dataset))
