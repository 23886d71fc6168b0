"""The names of configurations, and which version of the dataset a name means.

`quick`, `core` and `full` are those of the present version; `quick@1` is what `quick` was in
version 1. A version never changes, so that figures of old reports can be measured again.
"""

from __future__ import annotations

from hfbiasedit.errors import unknown

CONFIGS = ("quick", "core", "full")
VERSION = 2
VERSIONS = (1, VERSION)
OLD_CONFIGS = tuple(
    f"{config}@{version}" for version in VERSIONS if version != VERSION for config in CONFIGS
)
CONFIG_NAMES = (*CONFIGS, *OLD_CONFIGS)


def parse_config(name: str) -> tuple[str, int]:
    """The configuration and the version that a name means: `quick@1` is `("quick", 1)`.

    Raises:
        UsageError: there is no such configuration or version.
    """
    config, at, number = name.partition("@")
    if config in CONFIGS and not at:
        return config, VERSION
    if config in CONFIGS and number in map(str, VERSIONS):
        return config, int(number)
    raise unknown("configuration", name, CONFIG_NAMES)


def config_name(config: str, version: int) -> str:
    """The shortest name of a configuration: `quick` in the present version, else `quick@1`."""
    return config if version == VERSION else f"{config}@{version}"
