"""Everything that is decided once at start: flags, folders, ports. The only reader of flags' results.

User options that change while running live in `options.py`; per-request choices live in requests.
"""

import secrets
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Typed, frozen at start."""

    host: str = "127.0.0.1"
    port: int = 7860
    listen: bool = False
    """Reachable from other machines; a token is then required."""
    open_browser: bool = True
    data_dir: Path = ROOT / ".easel"
    """Queue, options, logs, datasets and the state of trainings."""
    models_dir: Path = ROOT / "models"
    extra_models: tuple[Path, ...] = ()
    """Model folders of AUTOMATIC1111 and ComfyUI, or an extra_model_paths.yaml of theirs."""
    outputs_dir: Path = ROOT / "outputs"
    extensions_dir: Path = ROOT / "extensions"
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    workers: int = 1
    safe_mode: bool = False
    """No extension runs."""
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    """Opens the page from another machine; printed once in the console when `listen` is on."""

    operator_token: str = field(default_factory=lambda: secrets.token_urlsafe(12), repr=False)
    """Shown by the console alone: whoever knows it may install and enable extensions."""
    api_accounts: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """(user, password) of the clients of AUTOMATIC1111's API; with any, that API asks for one on loopback too."""

    @property
    def database(self) -> Path:
        return self.data_dir / "easel.sqlite3"

    @property
    def model_index(self) -> Path:
        return self.data_dir / "models.sqlite"

    @property
    def datasets_dir(self) -> Path:
        return self.data_dir / "datasets"

    @property
    def trainings_dir(self) -> Path:
        return self.data_dir / "training"

    @property
    def wildcards_dir(self) -> Path:
        return self.models_dir / "wildcards"

    @property
    def checkpoints_dir(self) -> Path:
        return self.models_dir / "checkpoints"
