"""Writes blazepose*.npz and blazepose_*start.tflite with LiteRT: `python tests/data/make_blazepose.py FOLDER`.

FOLDER has pose_landmark_{lite,full,heavy}.tflite and the detector, pose_solution_packed_assets.data, of the npm package
@mediapipe/pose 0.5.1675469404, Apache-2.0. Stored are those files without their weights, and what LiteRT (`pip install
ai-edge-litert`) computes with weights made by rule (tests/tflite_skeleton.py); and of "lite" and the detector the first
operators, whole files of 8 KB.
"""

import sys
from pathlib import Path

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
sys.path.insert(0, str(HERE.parents[1]))
from tflite_skeleton import fill, image, stored_parts  # noqa: E402

from hmr_jax.weights.tflite_file import parse_tflite  # noqa: E402

OUTPUTS = ("landmarks", "presence", "mask", "heat_maps", "world")  # their order in the files
DETECTOR = "pose_solution_packed_assets.data"


def main(folder: Path) -> None:
    results: dict[str, np.ndarray] = {}
    for variant in ("lite", "full", "heavy"):
        case = record((folder / f"pose_landmark_{variant}.tflite").read_bytes(), image(), OUTPUTS)
        results |= {f"{variant}/{name}": array for name, array in case.items() if name != "columns"}
    np.savez_compressed(HERE / "blazepose.npz", **results)
    detector = record((folder / DETECTOR).read_bytes(), 2 * image(224) - 1, ("points", "scores"))
    np.savez_compressed(HERE / "blazepose_detector.npz", **detector)
    (HERE / "blazepose_start.tflite").write_bytes(start(folder / "pose_landmark_lite.tflite", 6))
    (HERE / "blazepose_detector_start.tflite").write_bytes(start(folder / DETECTOR, 4))


def record(data: bytes, inputs: np.ndarray, outputs: tuple[str, ...]) -> dict[str, np.ndarray]:
    """The skeleton of a file, and what it computes when filled by rule."""
    parts = stored_parts(data)
    filled = fill(parts)
    interpreter = Interpreter(model_content=filled, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], inputs)
    interpreter.invoke()
    results = {}
    for name, number in zip(outputs, parse_tflite(filled).outputs, strict=True):
        output = interpreter.get_tensor(number)
        results[name] = output[:, ::8, ::8] if output.ndim == 4 else output
        print(name, output.shape, f"largest {np.abs(output).max():.3g}")
    return parts | results


def start(path: Path, operators: int) -> bytes:
    """A file with the first operators, and what widens their weights."""
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(path.read_bytes(), 0))
    graph = model.subgraphs[0]
    widened: dict[int, list] = {}  # what makes a constant ready: DENSIFY, DEQUANTIZE or both
    for o in graph.operators:
        source = int(o.inputs[0])
        if len(o.inputs) == 1 and (source in widened or model.buffers[graph.tensors[source].buffer].data is not None):
            widened[int(o.outputs[0])] = [*widened.get(source, []), o]
    kept = [o for o in graph.operators if int(o.outputs[0]) not in widened][:operators]
    needed = [one for o in kept for number in o.inputs for one in widened.get(int(number), [])]
    graph.operators = needed + kept
    graph.inputs, graph.outputs = [int(kept[0].inputs[0])], [int(kept[-1].outputs[0])]
    used = sorted({int(number) for o in graph.operators for number in (*o.inputs, *o.outputs)})
    place = {number: i for i, number in enumerate(used)}
    for o in graph.operators:
        o.inputs, o.outputs = [place[int(i)] for i in o.inputs], [place[int(i)] for i in o.outputs]
    graph.inputs, graph.outputs = [place[i] for i in graph.inputs], [place[i] for i in graph.outputs]
    graph.tensors = [graph.tensors[number] for number in used]
    buffers = [schema.BufferT()]
    for tensor in graph.tensors:
        if model.buffers[tensor.buffer].data is not None:
            buffers.append(model.buffers[tensor.buffer])
            tensor.buffer = len(buffers) - 1
        else:
            tensor.buffer = 0
    model.buffers, model.signatureDefs, model.metadata, model.metadataBuffer = buffers, None, None, None
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
