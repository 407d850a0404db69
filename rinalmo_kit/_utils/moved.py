"""Namespaces whose modules were split: they still have all their names."""

from types import ModuleType
from typing import Any

__all__ = ["Namespace"]


class Namespace(ModuleType):
    """Several modules asked as one, the first that has a name answering."""

    def __init__(self, name: str, modules: list[ModuleType]) -> None:
        super().__init__(name, " ".join(module.__name__ for module in modules))
        self._modules = modules

    def __getattr__(self, name: str) -> Any:
        for module in self.__dict__.get("_modules", []):
            if hasattr(module, name):
                return getattr(module, name)
        raise AttributeError(f"{self.__name__} ({self.__doc__}) has no attribute {name!r}")

    def __dir__(self) -> list[str]:
        return sorted({name for module in self._modules for name in dir(module)})
