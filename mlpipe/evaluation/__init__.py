"""How good predictions are, with intervals: numpy only, so that both planes can ask."""
