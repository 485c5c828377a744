"""Writes the curves of a run, a row a trained network in the order of the trials, for benchmarks/curves.py.

python studies/early-stopping/record.py RUN > curves.csv
"""

import csv
import sys

from nas.search.records import read_run
from nas.search.search import run_folder


def main() -> None:
    """Every network that was trained to its last epoch, baselines too."""
    search, records = read_run(run_folder(sys.argv[1]))
    epochs = [f"epoch{number}" for number in range(1, search.epochs + 1)]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["strategy", "trial", "params", "macs", *epochs])
    for record in sorted(records, key=lambda record: record.number):
        if record.state == "trained":
            accuracies = [f"{accuracy:.5f}" for accuracy in record.accuracies]
            writer.writerow([record.strategy, record.number, record.parameters, record.macs, *accuracies])


if __name__ == "__main__":
    main()
