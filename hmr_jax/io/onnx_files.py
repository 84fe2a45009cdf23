"""ONNX files, opened by onnxruntime, which is not installed by default."""

from pathlib import Path
from typing import Any


def open_onnx(path: str | Path, what: str) -> Any:
    """A session of onnxruntime.

    Args:
        path: of the file.
        what: the network, at the start of the message that onnxruntime is missing.

    Raises:
        FileNotFoundError: there is no file.
        ImportError: onnxruntime is not installed.
        ValueError: the file is no network.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"There is no ONNX file {path}.")
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportError(f"{what} needs onnxruntime: `pip install 'hmr_jax[onnx]'`.") from error
    try:
        return onnxruntime.InferenceSession(path, providers=onnxruntime.get_available_providers())
    except Exception as error:  # onnxruntime raises many types
        raise ValueError(f"{path} cannot be loaded as an ONNX network: {str(error).splitlines()[0]}") from error
