"""Machines of a Ray cluster that train for a search: one actor for each GPU, or for each core where there is none.

python examples/ray_workers.py postgresql://nas@db.example.org/nas#first

An actor that dies is started again, on another node if its own is gone; the database knows what it trained. Needs the
package on every node, and ray itself: pip install '.[cluster]' ray
"""

import argparse
from typing import Any

import ray


class Machine:
    """Trains until nothing is left to do."""

    def work(self, address: str, dataset: str | None) -> str:
        """Returns how it ended."""
        import nas

        return nas.worker(address, workers=1, dataset=dataset)


def main() -> None:
    """Starts the actors and waits for all."""
    parser = argparse.ArgumentParser(description="Trains for a search on every GPU, or core, of a Ray cluster.")
    parser.add_argument("address", help="address of the run, postgresql://USER@HOST/DATABASE#RUN")
    parser.add_argument("--actors", type=int, help="how many (default: GPUs of the cluster, or cores)")
    parser.add_argument("--dataset", help="where the data lie on every node (default: as the search says)")
    asked = parser.parse_args()
    ray.init()
    gpus = int(ray.cluster_resources().get("GPU", 0))
    actors = asked.actors or gpus or int(ray.cluster_resources()["CPU"])
    actor: Any = ray.remote(max_restarts=-1, max_task_retries=-1)(Machine)
    machines = [actor.options(num_gpus=1 if gpus else 0, num_cpus=1).remote() for _ in range(actors)]
    endings = ray.get([machine.work.remote(asked.address, asked.dataset) for machine in machines])
    print(f"{actors} actors ended: {', '.join(sorted(set(endings)))}")


if __name__ == "__main__":
    main()
