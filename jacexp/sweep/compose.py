"""The configurations of a sweep's jobs, as Hydra composes them, with the files read once."""

from collections.abc import Sequence

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict


class Composer:
    """Composes jobs one by one: sets a job's values in a copy of what Hydra made of its other words.

    Hydra itself takes a tenth of a second for each job, to read the same files again. Values are set after files are
    read, and may be in any order unless one lies within another; such a job is left to Hydra.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        """Compose by Hydra's loader, starting from the sweep's own configuration."""
        self._loader, self._master = loader, master
        self._parser = OverridesParser.create()
        self._groups: dict[str, bool] = {}
        self._made: dict[tuple[str, ...], DictConfig] = {}

    def __call__(self, words: Sequence[str]) -> DictConfig:
        """Compose the configuration that a job's words describe, without Hydra's own part.

        Returns:
            The configuration.

        Raises:
            HydraException: if they cannot be composed.
            OmegaConfBaseException: for a key that does not exist, or a value of another type.
        """
        overrides = self._parser.parse_overrides(list(words))
        values = [o for o in overrides if self._sets_a_value(o)]
        others = [o for o in overrides if not self._sets_a_value(o)]
        changes = [other for other in others if not self._is_group(other.key_or_group)]
        if any(_overlap(value, change) for value in values for change in changes):
            values, others = [], overrides
        config = self._compose(tuple(str(other.input_line) for other in others)).copy()
        for value in values:
            OmegaConf.update(config, value.key_or_group, value.value(), merge=True)
        return config

    def _compose(self, words: tuple[str, ...]) -> DictConfig:
        if words not in self._made:
            config = self._loader.load_sweep_config(self._master, list(words))
            with open_dict(config):
                del config["hydra"]
            self._made[words] = config
        return self._made[words]

    def _sets_a_value(self, override: Override) -> bool:
        is_plain = not (override.is_add() or override.is_force_add() or override.is_delete())
        is_leaf = override.package is None and not isinstance(override.value(), dict)
        is_own = not (override.is_hydra_override() or self._is_group(override.key_or_group))
        return is_plain and is_leaf and is_own

    def _is_group(self, name: str) -> bool:
        if name not in self._groups:
            self._groups[name] = bool(self._loader.get_group_options(name))
        return self._groups[name]


def _overlap(one: Override, other: Override) -> bool:
    a, b = f"{one.key_or_group}.", f"{other.key_or_group}."
    return a.startswith(b) or b.startswith(a)
