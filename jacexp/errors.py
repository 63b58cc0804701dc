"""Errors that tell a user what to do; command-line programs print them without a traceback."""


class JacexpError(Exception):
    """The base of every error that jacexp raises on purpose."""


class ConfigError(JacexpError):
    """A configuration that cannot be run as it stands."""


class DataError(JacexpError):
    """A data set that is missing, damaged or not what it claims to be."""


class StoreError(JacexpError):
    """A run directory or a stored table that cannot be read or written."""


class RunLockedError(StoreError):
    """A run that another process is training."""
