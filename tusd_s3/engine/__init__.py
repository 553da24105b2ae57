"""The use cases: create, append, inspect and terminate uploads, over the ports."""

from tusd_s3.engine.options import EngineOptions
from tusd_s3.engine.uploads import Uploads

__all__ = ["EngineOptions", "Uploads"]
