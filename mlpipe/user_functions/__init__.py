"""The five functions that a user writes: their contracts, their check from the source, and the way jobs call them."""

from mlpipe.user_functions.calls import UserFunctions, user_code
from mlpipe.user_functions.protocols import FUNCTIONS, Encode, LoadModel, LoadProcessor, OrderedInputKeys, Reconcile
from mlpipe.user_functions.source import FunctionSource, UserSource, read_user_source

__all__ = [
    "FUNCTIONS",
    "Encode",
    "FunctionSource",
    "LoadModel",
    "LoadProcessor",
    "OrderedInputKeys",
    "Reconcile",
    "UserFunctions",
    "UserSource",
    "read_user_source",
    "user_code",
]
