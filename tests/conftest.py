import os

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tiny networks: more threads only wait for each other
settings.register_profile("here", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "here")
