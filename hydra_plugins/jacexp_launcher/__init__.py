"""Launchers of Hydra for jacexp's sweeps; one class, which `config` offers under several names."""
