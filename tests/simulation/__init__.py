"""The deterministic simulation runs the real ingest, batch, sync and link in a model of the world.

Start with docs/convergence.md, then world.py.
"""

import sys
from pathlib import Path

# `python -m tests.simulation.explore` imports `billing` from the layer.
sys.path.insert(0, str(Path(__file__).parents[2] / "layers" / "billing"))
