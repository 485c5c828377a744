"""Trains the networks of networks.json anew, on fresh seeds and other splits, and writes what they come to.

    python studies/search-worth/retrain.py cifar100.npz OUT [--workers N] [--device NAME] [--seeds 1001,1002]

Recipe `final`, 6 epochs; each seed draws another validation split. The same command goes on where it was interrupted.
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from nas.data.load import load_search_data
from nas.machine.process import default_workers
from nas.network.serial import to_json
from nas.space.files import named_space
from nas.space.space import bind
from nas.training.recipe import changed
from nas.training.recipes import named_recipe
from nas.training.several import train_all
from nas.training.training import Training, read_metrics, training_folder

EPOCHS = 6


def main() -> None:
    """Trains, then prints accuracies and log-losses by network and seed as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--seeds", default="1001,1002")
    asked = parser.parse_args()
    networks: list[dict[str, Any]] = json.loads((Path(__file__).parent / "networks.json").read_text())
    data = load_search_data(str(asked.data), seed=0)
    space = bind(named_space("mixed"), data.shape, data.classes)
    recipe = changed(named_recipe("final", len(data.train.labels)), {"epochs": EPOCHS})
    folders = {}
    for seed in map(int, asked.seeds.split(",")):
        for network in networks:
            name = f"{network['label']} {network['budget']} {seed}".replace(" ", "-")
            folders[name] = training_folder(asked.out / name)
            folders[name].enter(
                Training(
                    model=network["label"],
                    network=to_json(space.network(network["knobs"])),
                    dataset=str(asked.data.resolve()),
                    data_checksum=data.checksum,
                    image_size=None,
                    validation_share=None,
                    images=None,
                    recipe=replace(recipe, augmentation=data.augmentation),
                    seed=seed,
                )
            )
    workers = asked.workers or default_workers(asked.device)
    failures = train_all(list(folders.values()), workers=workers, device=asked.device)
    found = {name: read_metrics(folder) for name, folder in folders.items() if folder.path not in failures}
    print(json.dumps({name: [metrics.accuracy, metrics.validation_loss] for name, metrics in found.items()}, indent=1))


if __name__ == "__main__":
    main()
