"""The deterministic simulation: the real code of ingest, batch, sync and link in a model world.

Start with docs/convergence.md, then read world.py.
"""

import sys
from pathlib import Path

# `python -m tests.simulation.explore` imports the package from the layer.
sys.path.insert(0, str(Path(__file__).parents[2] / "layers" / "billing"))
