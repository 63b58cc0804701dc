"""The configurations of a sweep's jobs, as Hydra composes them, but what jobs have in common is composed once."""

from collections.abc import Sequence

from hydra._internal.config_loader_impl import ConfigLoaderImpl, get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, OmegaConf, open_dict, read_write


class Composer:
    """Composes jobs one by one: copies what Hydra made of a job's choices of files, and sets its values there.

    Hydra itself composes files first and sets values after, in their order, so both give the same; but it takes a
    tenth of a second for each job to read the files again. What goes wrong is left to Hydra, and so says what it says.
    """

    def __init__(self, loader: ConfigLoader, master: DictConfig) -> None:
        """Take Hydra's loader and the sweep's own configuration."""
        self._loader, self._master = loader, master
        self._parser = OverridesParser.create()
        self._is_group: dict[str, bool] = {}
        self._chosen: dict[tuple[str, ...], DictConfig] = {}
        self._chosen_tasks: dict[tuple[str, ...], DictConfig] = {}

    def task(self, words: Sequence[str]) -> DictConfig:
        """Compose what a job's function is given: its configuration without Hydra's own part."""
        try:
            files, values = self._divided(words)
            if files not in self._chosen_tasks:
                self._chosen_tasks[files] = _without_hydra(self._template(files))
            config = self._chosen_tasks[files].copy()
            ConfigLoaderImpl._apply_overrides_to_config(values, config)
        except Exception:
            return _without_hydra(self._by_hydra(words))
        return config

    def whole(self, words: Sequence[str], number: int) -> DictConfig:
        """Compose a job's whole configuration, with its number in the sweep."""
        try:
            files, values = self._divided(words)
            config = self._template(files).copy()
            ConfigLoaderImpl._apply_overrides_to_config(values, config)
            self._note_overrides(config, words)
        except Exception:
            config = self._by_hydra(words)
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def _by_hydra(self, words: Sequence[str]) -> DictConfig:
        return self._loader.load_sweep_config(self._master, list(words))

    def _divided(self, words: Sequence[str]) -> tuple[tuple[str, ...], list[Override]]:
        """Divide a job's overrides into the words that choose files, and those that set values."""
        overrides = self._parser.parse_overrides(list(words))
        if any(override.is_hydra_override() for override in overrides):
            raise ValueError("what changes Hydra itself is left to Hydra")
        chooses = [self._chooses(override) for override in overrides]
        files = tuple(word for word, is_choice in zip(words, chooses, strict=True) if is_choice)
        return files, [o for o, is_choice in zip(overrides, chooses, strict=True) if not is_choice]

    def _chooses(self, override: Override) -> bool:
        group = override.key_or_group
        if group not in self._is_group:
            options = self._loader.get_group_options(
                group,
                results_filter=None,
                config_name=self._master.hydra.job.config_name,
                overrides=list(self._master.hydra.overrides.hydra),
            )
            self._is_group[group] = bool(options)
        return self._is_group[group] and not isinstance(override.value(), dict)

    def _template(self, files: tuple[str, ...]) -> DictConfig:
        if files not in self._chosen:
            self._chosen[files] = self._by_hydra(files)
        return self._chosen[files]

    def _note_overrides(self, config: DictConfig, words: Sequence[str]) -> None:
        """Write into Hydra's part of a configuration what its job was called with."""
        style = config.hydra.job.config.override_dirname
        config.hydra.overrides.task = list(words)
        config.hydra.job.override_dirname = get_overrides_dirname(
            self._parser.parse_overrides(list(words)),
            exclude_keys=style.exclude_keys,
            item_sep=style.item_sep,
            kv_sep=style.kv_sep,
        )
        OmegaConf.copy_cache(from_config=self._master, to_config=config)


def _without_hydra(config: DictConfig) -> DictConfig:
    cfg = config.copy()
    with read_write(cfg), open_dict(cfg):
        del cfg["hydra"]
    return cfg
