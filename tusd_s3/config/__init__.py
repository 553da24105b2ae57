"""What an operator may choose, read once at the top; the layers below get plain values.

A setting has one name in three spellings: the field `network_timeout`, the flag
`--network-timeout`, the variable `TUSD_S3_NETWORK_TIMEOUT`. Flags win over the environment. The
command line is generated from the fields, so their descriptions are its help text.
"""

from __future__ import annotations

from tusd_s3.config.load import ConfigError, env_name, flag_name, load_settings, show
from tusd_s3.config.settings import ENV_PREFIX, Settings, group, metavar

__all__ = [
    "ENV_PREFIX",
    "ConfigError",
    "Settings",
    "env_name",
    "flag_name",
    "group",
    "load_settings",
    "metavar",
    "show",
]
