"""Which environment numbers come from. Knows installed packages only, and imports none of them."""

import importlib.metadata
import platform


def read_environment() -> dict[str, str]:
    """Versions of what decides the numbers."""
    packages = ("scikit-learn", "numpy", "pandas", "onnxruntime", "skl2onnx")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in packages}
