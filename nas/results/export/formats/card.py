"""What is known of the network, for people."""

from pathlib import Path

from nas.results.export.card import card_text
from nas.results.export.formats import Contents, Format


def _write(contents: Contents, folder: Path) -> None:
    text = card_text(contents.network, contents.card, contents.versions, contents.deployed)
    (folder / "card.md").write_text(text, encoding="utf-8")


FORMAT = Format(
    title="model card",
    meaning="accuracies with n and spread, sizes, preprocessing, recipe and commands, for people",
    files=("card.md",),
    write=_write,
    last=True,
)
