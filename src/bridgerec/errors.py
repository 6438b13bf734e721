"""The few errors that a user of BridgeRec can meet.

Every message says what is wrong, where (file, row, column, key) and what to do.
The command line prints the message alone and exits with `exit_code`;
`--debug` shows the traceback.
"""


class BridgeRecError(Exception):
    """Root of all errors that are the input's fault and not a defect of the program."""

    exit_code = 1


class ConfigError(BridgeRecError):
    """`params.yaml` (or an option) is missing, malformed, or contradicts itself."""

    exit_code = 2


class DataError(BridgeRecError):
    """A table cannot be read or breaks the data contract."""

    exit_code = 3


class ValidationFailed(DataError):
    """A critical expectation failed; the pipeline stops before any training."""


class ArtifactError(BridgeRecError):
    """An output of an earlier stage is missing, corrupt, or belongs to other inputs."""

    exit_code = 4


class GateRefused(BridgeRecError):
    """No candidate may be released; the decision names the reasons."""

    exit_code = 5


class MissingDependency(BridgeRecError):
    """An optional part is not installed; the message tells how to install it."""

    exit_code = 6
