"""Tests of Visem.

One thread each for numpy and torch, in workers and in processes that tests start: workers are enough for all cores, and
what is trained is the same to the last bit. It has to be said before numpy is imported.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
