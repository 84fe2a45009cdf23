"""Finds people in images and predicts their bodies: files in, files out."""

import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

from tqdm import tqdm
from tyro.conf import Positional, arg

from hmr_jax import runtime


def main(
    images: Positional[Annotated[tuple[Path, ...], arg(metavar="IMAGE...")]],
    boxes: str = "",
    detector: str = "builtin",
    checkpoint: Path | None = None,
    output: Path = Path("predictions"),
    intrinsics: str = "",
    axes: Literal["opencv", "opengl", "blender"] = "opengl",
    depth: str = "",
    body: Path | None = None,
) -> None:
    """Writes, per image, numbers (.json, .npz), a mesh (.glb), an overlay and the decoder's sampling points.

    Args:
        images: images, or folders of images; turned upright as their EXIF orientation says.
        boxes: JSON file {file name: [[x0, y0, x1, y1], ...]}, or x0,y0,x1,y1 for one image, in pixels; or
            "whole": each image is one person's box. By default the people are found. Where two folders have a file of
            one name, the table says FOLDER/NAME.
        detector: finds the people where no boxes are given: "builtin", or an ONNX file of YOLOX, YOLOv8 and later,
            RTMDet, D-FINE or RT-DETR; docs/detection.md.
        checkpoint: a run's folder, one of its checkpoints, or an exported folder; by default the built-in model.
        output: folder of the results; those of an earlier run for the same images are replaced.
        intrinsics: fx,fy,cx,cy in pixels of the images; by default a focal length from each image's size.
        axes: of the mesh file; "opengl" (Y up) is glTF's own, which Blender's importer turns upright by itself.
        depth: for models that take it: a depth file (for one image) or a folder of files named as the images are,
            .npz, .npy or 16-bit .png, or a provider such as onnx:NETWORK.onnx; docs/depth.md.
        body: file or folder of the checkpoint's body, if it is not where it was in training; by default
            HMR_JAX_BODIES is searched.
    """
    from hmr_jax.depth.providers import depth_provider
    from hmr_jax.detection import named_detector
    from hmr_jax.inference import Predictor, files
    from hmr_jax.io.images import find_images

    runtime.set_up(inference=True)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    paths = find_images(images)
    people, camera = files.read_boxes(boxes, paths), files.parse_intrinsics(intrinsics)
    maps = depth_provider(depth) if depth else None
    finder = named_detector(detector) if people is None else None
    predictor = Predictor.from_checkpoint(checkpoint, body=body)
    predictor.detector = finder
    for path in files.predict_files(predictor, paths, output, people, camera, axes, maps):
        tqdm.write(str(path))  # clear of the progress bar
