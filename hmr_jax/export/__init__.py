"""Networks exported to other formats, and read back: StableHLO and ONNX.

Every format takes crops of any batch size, and says what it takes and gives (`hmr_jax.export.about`).
"""

from hmr_jax.export.network import Network, load_network
from hmr_jax.export.stablehlo import ExportedNetwork, read_network
from hmr_jax.export.writing import FORMATS, export_network

__all__ = ["FORMATS", "ExportedNetwork", "Network", "export_network", "load_network", "read_network"]
