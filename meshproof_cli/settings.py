"""What `--set` and `--config` say, as the stages of a run need it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.adapters import Adapter
    from conformance.settings import RunSettings
    from meshproof_cli.plan import Options

__all__ = ["adapter_of", "setting_flags", "settings_of"]


def settings_of(options: Options) -> RunSettings:
    """The settings of a run. `UsageProblem` for a wrong one."""
    from conformance.settings import read_settings

    return read_settings(options.config, options.assignments)


def adapter_of(options: Options) -> Adapter:
    """The adapter of the run's mesh, with what the user says of that mesh."""
    from conformance.adapters import load

    return load(options.mesh, settings_of(options).mesh)


def setting_flags(options: Options) -> list[str]:
    """The flags that hand the same settings to another program of ours."""
    flags = ["--config", str(options.config.resolve())] if options.config else []
    for assignment in options.assignments:
        flags += ["--set", assignment]
    return flags
