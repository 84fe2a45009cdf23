"""Finds people in images and predicts their bodies: files in, files out."""

import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from tqdm import tqdm
from tyro.conf import Positional, arg

from hmr_jax import runtime

_MANY = 8
"""Images from which on people are predicted in batches on CPUs, too."""


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
    camera: Literal["perspective", "hmr2"] = "perspective",
    only: str = "",
    overlay: bool = True,
    recursive: bool = False,
    again: bool = False,
    smooth: bool = True,
    refine: bool = True,
    keypoints: str = "",
    adapt: int = 0,
    seconds: float = 0.0,
    planted_feet: bool = True,
    up: tuple[float, float, float] | None = None,
) -> None:
    """Writes, per image, numbers (.json, .npz), a mesh (.glb), an overlay and the decoder's sampling points.

    Of a video: the motion of each person (.npz, .glb, .bvh), a summary (.json) and an overlay (.mp4), docs/video.md.

    Args:
        images: images, folders of images, or videos; turned upright as their EXIF orientation says. webcam:0 is the
            first camera of this computer, which is recorded first.
        boxes: JSON file {file name: [[x0, y0, x1, y1], ...]}, or x0,y0,x1,y1 for one image, in pixels; a file of
            COCO, YOLO, CSV or npz, docs/outputs.md; or "whole": each image is one person's box. By default the people
            are found. Where two folders have a file of one name, the table says FOLDER/NAME. Of a video: JSON by frame
            number, or a .txt file of MOT Challenge.
        detector: finds the people where no boxes are given: "builtin", or an ONNX file of YOLOX, YOLOv8 and later,
            RTMDet, D-FINE or RT-DETR; docs/detection.md.
        checkpoint: a run's folder, one of its checkpoints, an exported folder, or a file of hmr export --to stablehlo;
            by default the built-in model.
        output: folder of the results; those of an earlier run for the same images are replaced, or kept if they are
            of the same request.
        intrinsics: fx,fy,cx,cy in pixels of the images; a JSON file {file name: [fx, fy, cx, cy]}; or a calibration
            file of Qualisys, Pose2Sim, OpenCV or EasyMocap, with lens distortion, FILE#NAME if it has several cameras.
            By default the focal length of EXIF, or told by many people, or a field of view of 60 degrees over the
            diagonal.
        axes: of the mesh files; "opengl" (Y up) is glTF's own, which Blender's importer turns upright by itself.
        depth: for models that take it: a depth file (for one image) or a folder of files named as the images are,
            .npz, .npy or 16-bit .png, or a provider such as onnx:NETWORK.onnx; docs/depth.md.
        body: file or folder of the checkpoint's body, if it is not where it was in training; by default
            HMR_JAX_BODIES is searched.
        camera: hmr2: the very long lens of HMR2.0, 5,000 px for a crop of 256 px, and its formula of the translation.
        only: what is written, of json,npz,glb,overlay,details,obj,ply,html,turntable; by default the first five. Of
            videos json,npz,glb,bvh,overlay,usd,pkl,html,rrd,track; by default the first five, and always json.
        overlay: whether images with the bodies and with details are drawn.
        recursive: whether folders are searched with all that are in them.
        again: predict images again whose results of the same request are there.
        smooth: whether the motions of a video are smoothed.
        refine: whether bodies are moved onto the landmarks that the network's encoder finds, and onto keypoints.
        keypoints: of the people, onto which their bodies are moved: a folder of OpenPose's files, a data set or results
            of COCO, or JSON {file name: [[[x, y, confidence], ...], ...]}; without boxes they say where people are.
        adapt: steps of training on each person's keypoints or landmarks before the person is predicted, in place of
            --refine: EFT, for research; 0: none.
        seconds: of a camera that are recorded; by default until Ctrl+C.
        planted_feet: whether feet that stand are held where they stand, in smoothed motions of videos.
        up: direction against gravity in the axes of a video's camera, 0 -1 0 if it is level; by default that of people.
    """
    from hmr_jax.depth.providers import depth_provider
    from hmr_jax.detection import named_detector
    from hmr_jax.inference import Predictor
    from hmr_jax.inference.batches import batch_of_many
    from hmr_jax.inference.files import predict_files
    from hmr_jax.inference.given import read_boxes, read_intrinsics, read_keypoints, read_video_boxes
    from hmr_jax.inference.results import parse_kinds
    from hmr_jax.inference.stages import Stages
    from hmr_jax.io.images import find_images, is_video, is_webcam
    from hmr_jax.video.kinds import DEFAULT_VIDEO_KINDS, VIDEO_KINDS

    runtime.set_up(inference=True)
    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    videos = [path for path in images if is_video(path) or is_webcam(path)]
    kinds: Any = parse_kinds(only, overlay, *((VIDEO_KINDS, DEFAULT_VIDEO_KINDS) if videos else ()))
    if videos and (len(videos) < len(images) or depth or again or keypoints):
        raise ValueError("Videos are predicted by themselves, without images, --depth, --keypoints and --again.")
    paths = videos or find_images(images, recursive)
    people: Any = read_video_boxes(boxes) if videos else read_boxes(boxes, paths)
    points = read_keypoints(keypoints, paths)
    cameras = read_intrinsics(intrinsics, paths)
    maps = depth_provider(depth) if depth else None
    finder = named_detector(detector) if people is None and points is None else None
    if adapt:
        from hmr_jax.training.adaptation import adapting_predictor

        predictor: Predictor = adapting_predictor(checkpoint, adapt, body, camera=camera)
    else:
        batch = batch_of_many() if videos or len(paths) >= _MANY else None
        predictor = Predictor.from_checkpoint(checkpoint, batch, body=body, camera=camera, refine=refine)
    predictor.detector = finder
    if videos:
        recorded = list(_recorded(videos, output, seconds))
        options: Any = {"kinds": kinds, "smooth": smooth, "axes": axes, "up": up, "planted_feet": planted_feet}
        for path in _of_videos(predictor, recorded, output, people, cameras, **options):
            print(path)
        return
    stages = Stages()
    predicted = predict_files(predictor, paths, output, people, cameras, axes, maps, kinds, not again, stages, points)
    for path in predicted:
        tqdm.write(str(path))  # clear of the progress bar
    if len(paths) > 1:
        print(stages.summary(), file=sys.stderr)


def _recorded(videos, output: Path, seconds: float) -> Iterator[Path]:
    """The videos, with a recording for each camera."""
    from hmr_jax.io.images import is_webcam
    from hmr_jax.video.webcam import record

    for path in videos:
        if is_webcam(path):
            path = record(path, output, seconds)
            print(path)
        yield path


def _of_videos(predictor, videos, output: Path, boxes, cameras, **options: Any) -> Iterator[Path]:
    """The files written of some videos."""
    from hmr_jax.geometry.intrinsics import intrinsics_of_each
    from hmr_jax.inference.result_files import result_names
    from hmr_jax.video import predict_video
    from hmr_jax.video.files import video_file

    names, inputs = result_names(videos), {path.resolve() for path in videos}
    for path, name in zip(videos, names, strict=True):
        if (file := video_file(output, name, "overlay")).resolve() in inputs:
            raise ValueError(f"{file} would be overwritten by the overlay of {path}: choose another --output.")
    for path, name, camera in zip(videos, names, intrinsics_of_each(cameras, len(videos)), strict=True):
        result = predict_video(predictor, path, output, boxes, camera, name=name, **options)
        yield from result.files
