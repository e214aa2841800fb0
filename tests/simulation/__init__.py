"""The deterministic simulation: the real code of ingest, batch, sync and link in a model world.

world.py is the place to begin; docs/convergence.md is the guide.
"""

import sys
from pathlib import Path

# So that `python -m tests.simulation.explore` finds the package where the layer has it.
sys.path.insert(0, str(Path(__file__).parents[2] / "layers" / "billing"))
