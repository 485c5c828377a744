"""What a plan stands for: its data, its space, its studies with their samplers."""

from optuna.samplers import BaseSampler
from optuna.study import Study

from nas.data.load import SearchData, load_search_data
from nas.network.layers import Shape
from nas.search.baselines import studied
from nas.search.journal import open_storage, open_study
from nas.search.plan import BASELINES, Plan, RunFolder
from nas.search.strategies import STRATEGIES, ListedSampler
from nas.seeds import derive_seed
from nas.space.space import Space, bind, load_architecture, space_file


def load_plan_data(plan: Plan, folder: RunFolder) -> SearchData:
    """Training and validation split of a plan."""
    dataset = str(folder.data) if folder.data.exists() else plan.dataset
    return load_search_data(
        dataset, seed=plan.seed, validation_share=plan.validation_share, image_size=plan.image_size, progress=False
    )


def plan_space(plan: Plan, shape: Shape, classes: int) -> Space:
    """The search space of a plan. Raises SpaceError if its file is gone or bad."""
    return bind(load_architecture(space_file(plan.space), plan.space_class), shape, classes)


def open_studies(plan: Plan, folder: RunFolder, space: Space) -> dict[tuple[str, int], Study]:
    """Every study of the plan with its sampler."""
    storage = open_storage(folder)
    return {key: open_study(storage, *key, _sampler(plan, space, *key)) for key in plan.studies}


def _sampler(plan: Plan, space: Space, strategy: str, budget: int) -> BaseSampler:
    if strategy == BASELINES:
        return ListedSampler(studied(plan, space, strategy, budget).knobs[0])
    seed = derive_seed(plan.seed, strategy, budget)
    return STRATEGIES[strategy](space, plan.budget(budget), seed=seed, below=plan.below, starts=plan.starts_at(budget))
