"""The client of Orrery for notebooks and programs.

import orrery

client = orrery.connect()
job = client.train("digits/reader", hyperparameters={"epochs": 3}).follow()
job.curves().plot()
"""

from orrery.client import Client, connect
from orrery.connection import Listing
from orrery.errors import (
    BudgetExceeded,
    Capacity,
    Conflict,
    Forbidden,
    Internal,
    Invalid,
    JobFailed,
    JobStopped,
    Malformed,
    MethodNotAllowed,
    MissingExtra,
    NoKey,
    NotConfigured,
    NotFound,
    NotServing,
    OrreryError,
    PreconditionFailed,
    RateLimited,
    Refused,
    StalePlan,
    TooLarge,
    Unauthenticated,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
    UnsupportedMedia,
    UpstreamFailed,
)
from orrery.job import Job
from orrery.model import Evidence, Model
from orrery.pictures import Picture
from orrery.service import Service

__all__ = [
    "BudgetExceeded",
    "Capacity",
    "Client",
    "Conflict",
    "Evidence",
    "Forbidden",
    "Internal",
    "Invalid",
    "Job",
    "JobFailed",
    "JobStopped",
    "Listing",
    "Malformed",
    "MethodNotAllowed",
    "MissingExtra",
    "Model",
    "NoKey",
    "NotConfigured",
    "NotFound",
    "NotServing",
    "OrreryError",
    "Picture",
    "PreconditionFailed",
    "RateLimited",
    "Refused",
    "Service",
    "StalePlan",
    "TooLarge",
    "Unauthenticated",
    "Unavailable",
    "UnexpectedAnswer",
    "Unreachable",
    "UnsupportedMedia",
    "UpstreamFailed",
    "connect",
]
