"""EmberVLM: looks at a picture, reads a task, and says which robots suit it and why.

`import embervlm` needs neither torch nor timm: each name is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embervlm.config import EmberVLMConfig
    from embervlm.model import EmberVLM
    from embervlm.tokens import Tokenizer

__all__ = ["EmberVLM", "EmberVLMConfig", "Tokenizer"]

_HOME = {"EmberVLM": "model", "EmberVLMConfig": "config", "Tokenizer": "tokens"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'embervlm' has no attribute {name!r}")
    try:
        return getattr(import_module(f"embervlm.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "timm"):
            raise
        raise ImportError(
            f"embervlm.{name} needs {error.name}: install it with `pip install 'embervlm[train]'`"
        ) from error


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
