"""What a plan stands for: its data, its space, its studies with their samplers."""

from optuna.samplers import BaseSampler
from optuna.study import Study

from nas.data.load import SearchData, load_search_data
from nas.machine.folders import WorkFolder
from nas.network.layers import Shape
from nas.search.baselines import studied
from nas.search.journal import open_storage, open_study
from nas.search.sampling.listed import ListedSampler
from nas.search.search import BASELINES, Search, arrays_file
from nas.search.strategies import STRATEGIES
from nas.seeds import derive_seed
from nas.space.space import Space, bind, load_architecture, space_file


def load_data_of(search: Search, folder: WorkFolder[Search]) -> SearchData:
    """Training and validation split of a plan."""
    dataset = str(arrays_file(folder)) if arrays_file(folder).exists() else search.dataset
    return load_search_data(
        dataset,
        seed=search.seed,
        validation_share=search.validation_share,
        image_size=search.image_size,
        progress=False,
    )


def space_of(search: Search, shape: Shape, classes: int) -> Space:
    """The search space of a plan. Raises SpaceError if its file is gone or bad."""
    return bind(load_architecture(space_file(search.space), search.space_class), shape, classes)


def open_studies(search: Search, folder: WorkFolder[Search], space: Space) -> dict[tuple[str, int], Study]:
    """Every study of the plan with its sampler."""
    storage = open_storage(folder)
    return {key: open_study(storage, *key, _sampler(search, space, *key)) for key in search.studies}


def _sampler(search: Search, space: Space, strategy: str, budget: int) -> BaseSampler:
    if strategy == BASELINES:
        return ListedSampler(studied(search, space, strategy, budget).knobs[0])
    seed = derive_seed(search.seed, strategy, budget)
    return STRATEGIES[strategy](
        space, search.budget(budget), seed=seed, below=search.below, starts=search.starts_at(budget)
    )
