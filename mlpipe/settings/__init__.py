"""The settings of an experiment: settings.ini, --set options and environment variables as frozen, typed objects."""

from mlpipe.settings.resolved import DataFunctionSettings, ModelFunctionSettings, Settings
from mlpipe.settings.resolving import load_settings
from mlpipe.settings.schema import Data, Experiment, Hyperparameters, Inference, Local, Tracking, Training, Tuning

__all__ = [
    "Data",
    "DataFunctionSettings",
    "Experiment",
    "Hyperparameters",
    "Inference",
    "Local",
    "ModelFunctionSettings",
    "Settings",
    "Tracking",
    "Training",
    "Tuning",
    "load_settings",
]
