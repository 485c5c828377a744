"""Which run folders a path stands for."""

from pathlib import Path


def run_folders(path: Path) -> list[Path]:
    """The run folder itself, or the run folders in it."""
    inside = sorted(settings.parent for settings in path.glob("*/settings.json"))
    return inside if inside and not (path / "settings.json").is_file() else [path]
