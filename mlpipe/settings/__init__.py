"""The settings of an experiment: settings.ini, --set options and environment variables as frozen, typed objects."""

from mlpipe.settings.resolved import DataFunctionSettings, ModelFunctionSettings, Settings
from mlpipe.settings.resolving import load_settings
from mlpipe.settings.sagemaker import Sagemaker
from mlpipe.settings.schema import S3, Data, Experiment, Hyperparameters, Inference, Local, Tracking, Training
from mlpipe.settings.tuning import Tuning

__all__ = [
    "S3",
    "Data",
    "DataFunctionSettings",
    "Experiment",
    "Hyperparameters",
    "Inference",
    "Local",
    "ModelFunctionSettings",
    "Sagemaker",
    "Settings",
    "Tracking",
    "Training",
    "Tuning",
    "load_settings",
]
