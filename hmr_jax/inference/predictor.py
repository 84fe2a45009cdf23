"""From images, and boxes of people or none, to posed bodies in the camera of the whole image.

    predictor = Predictor.from_checkpoint("runs/deforhmr")
    people = predictor([image])
    people[0].vertices + people[0].translation

Everything is in OpenCV camera axes (x right, y down, z forward), metres, and pixels of the given image. Without
`Predictor`, `load_for_inference` loads configuration and parameters, and `build_model` makes the Flax module.

Shapes: H, W an image, n its boxes, S side of the crop.
"""

import dataclasses
import functools
import importlib
from collections.abc import Callable, Collection, Iterator, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import numpy as np

from hmr_jax.body import BodyModel
from hmr_jax.checkpoints import SHIPPED_MODEL
from hmr_jax.config import Config
from hmr_jax.depth import DepthMap
from hmr_jax.detection import Detections, Detector, PersonDetector, find_people
from hmr_jax.export import ExportedNetwork
from hmr_jax.geometry.boxes import ENLARGE, LARGEST
from hmr_jax.geometry.crops import CropInTurns, extract_crop
from hmr_jax.inference.asked import people_asked_for
from hmr_jax.inference.batches import in_batches, pad
from hmr_jax.inference.depth_of_crops import check_depth, crop_depths
from hmr_jax.inference.ground import cameras_by_people
from hmr_jax.inference.inputs import Images, image_list, is_one, photos_of, whole_boxes
from hmr_jax.inference.keypoint_files import boxes_of_keypoints, given_keypoints
from hmr_jax.inference.landmarks import landmarks_in_image
from hmr_jax.inference.loading import load
from hmr_jax.inference.origin import Origin
from hmr_jax.inference.people import People
from hmr_jax.inference.person import PersonPrediction
from hmr_jax.inference.photo import Photo
from hmr_jax.inference.placing import place, place_as_hmr2, through_lens
from hmr_jax.inference.refining import Refiner, is_seen
from hmr_jax.inference.upright import look_upright, turn_back
from hmr_jax.models import DEPTH_MODELS, build_model, needs_depth
from hmr_jax.models.backbones.vit import arrange_for_inference
from hmr_jax.models.encoders import EncoderAlone, finds_landmarks
from hmr_jax.models.parameters import Params, encoder_variables, parameters_hash, to_variables

CameraKind = Literal["perspective", "hmr2"]
CAMERA_KINDS = get_args(CameraKind)


class Predictor:
    """A network and its parameters behind one call."""

    def __init__(
        self,
        config: Config,
        params: Params,
        batch_size: int | None = None,
        upright: bool = True,
        camera: CameraKind = "perspective",
        network: ExportedNetwork | None = None,
        refine: bool = True,
    ):
        """Builds the network.

        Args:
            config: of a checkpoint.
            params: of the same checkpoint.
            batch_size: crops per call of the network, which are padded to it. None: 1 on a CPU and 16 elsewhere.
            upright: whether people are looked at again in a crop that is turned along their trunk, see
                `inference.upright`; done where the network's encoder finds landmarks and takes no depth.
            camera: of images. "perspective": the camera that is given, or that of EXIF, or one that many people tell
                (`inference.ground`), or one with a field of view of 60 degrees over the diagonal; bodies are placed
                where they project to the network's own keypoints.
                "hmr2": HMR2.0's, which without given intrinsics is a lens of 5,000 px for crops of 256 px.
            network: exported, of this configuration and these parameters; None: it is built.
            refine: whether bodies are moved onto the landmarks that the encoder finds in upright crops, and onto the
                keypoints that are given, see `inference.refining`.

        Raises:
            ValueError: if the network predicts no bodies, the camera is of no known kind, or batches hold nothing.
        """
        if batch_size is not None and (not isinstance(batch_size, Integral) or batch_size < 1):
            raise ValueError(f"batch_size is {batch_size}: give a whole number from 1 on, or None.")
        if camera not in CAMERA_KINDS:
            raise ValueError(f"There is no camera '{camera}': give {' or '.join(CAMERA_KINDS)}.")
        if config.model.name == "dense":
            raise ValueError("This checkpoint predicts no bodies: it is an encoder for training to start from.")
        self.config = config
        self.crop_focal_length = config.model.focal_length if camera == "hmr2" else None
        """Of HMR2.0's default camera, see `camera_of`; None with perspective cameras."""
        self.batch_size = batch_size or (1 if jax.default_backend() == "cpu" else 16)
        self.model: Any = build_model(config.model) if network is None else network
        self.checkpoint: dict[str, Any] = {"name": None, "step": None}
        """Name and step of the checkpoint; written into result files."""
        self.detector: PersonDetector | None = None
        """Finds the people where no boxes are given. None: the built-in detector, from its first use on."""
        self._takes_depth = needs_depth(config.model)
        self._params = jax.device_put(arrange_for_inference(params))
        self._step = jax.jit(self._predict)
        self.upright = upright and finds_landmarks(config.model.encoder) and not self._takes_depth
        encoder = EncoderAlone(config.model, self.model.dtype) if network is None else network.encoder
        self._encode = jax.jit(lambda params, crops: encoder.apply(encoder_variables(params), crops))
        self.refine = refine

    @classmethod
    def from_checkpoint(
        cls,
        directory: str | Path | None = None,
        batch_size: int | None = None,
        upright: bool = True,
        body: str | Path | None = None,
        camera: CameraKind = "perspective",
        refine: bool = True,
    ) -> "Predictor":
        """Loads a run's folder, one of its checkpoints, an exported folder or file, or by default the shipped model.

        Args:
            directory: of the checkpoint, or a file that `hmr export CHECKPOINT --to stablehlo` wrote.
            batch_size: see the class.
            upright: see the class.
            body: file or folder of the checkpoint's body, if it is not where it was in training (or HMR_JAX_BODIES).
            camera: see the class.
            refine: see the class.

        Raises:
            FileNotFoundError: if there is no checkpoint.
            ValueError: if it cannot be read, or does not predict bodies.
        """
        if directory is None and not (SHIPPED_MODEL / "params.npz").exists():
            raise FileNotFoundError("This installation has no built-in model: name the folder of a checkpoint.")
        config, params, network, checkpoint = load(directory, body)
        predictor = cls(config, params, batch_size, upright, camera, network, refine)
        predictor.checkpoint = checkpoint
        return predictor

    @property
    def body(self) -> BodyModel:
        """The body model, with `faces` and `topology`."""
        return self.model.body

    @functools.cached_property
    def _refiner(self) -> Refiner:
        return Refiner(self.body, self.config.model.focal_length, self.batch_size)

    @property
    def origin(self) -> Origin:
        """What results say of the network."""
        height, width = self.config.model.encoder.image_size
        return Origin(
            self.checkpoint, self.body.topology, self.body.faces, self.config.model.focal_length, width / height
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What predictions depend on beside configuration and parameters."""
        return {"upright": self.upright, "refine": self.refine, "crop_focal_length": self.crop_focal_length}

    @functools.cached_property
    def parameters_hash(self) -> str:
        """A hash of the parameters, 32 hexadecimal digits."""
        return parameters_hash(self._params)

    def check_takes_depth(self, given: bool) -> None:
        """Raises ValueError if depth is given to a network that takes none."""
        if given and not self._takes_depth:
            raise ValueError(
                f"This checkpoint's network, {self.config.model.name}, takes no depth: leave the depth out, or choose "
                f"a checkpoint of {' or '.join(DEPTH_MODELS)}."
            )

    def __call__(
        self,
        images: Images,
        boxes: Sequence | np.ndarray | Detections | Literal["whole"] | None = None,
        intrinsics: Sequence | np.ndarray | None = None,
        enlarge: float = ENLARGE,
        depth: DepthMap | Sequence[DepthMap | None] | None = None,
        keypoints: Sequence | np.ndarray | None = None,
        turns: Sequence[np.ndarray] | None = None,
        refine: bool | None = None,
    ) -> People:
        """Predicts the person in every box; the crops of all images share batches.

        Args:
            images: list of images, or one: (H, W, 3) uint8 RGB or (H, W) grey, of NumPy or JAX; PIL images; or paths of
                files. See `hmr_jax.io.images`.
            boxes: per image (n, 4) or (4,) left, top, right, bottom in px, or `Detections`; for one image, its own.
                None: those of `detect`. "whole": each whole image is the box of one person.
            intrinsics: (3, 3), or fx, fy, cx, cy in px, of all images; with a lens, a calibrated `Camera` or a mapping,
                see `image_camera`; or one of these, an `ImageCamera` or None, per image. None: that of a PIL image's
                EXIF, of many people, or the default of the predictor's `camera`.
            enlarge: factor on the boxes; tight boxes times 1.2 are those of training.
            depth: for a network that takes it, per image a map of its size or None; for one image, its map. Without
                depth such a network predicts from the image alone, with a warning.
            keypoints: per image (n, N, 3) x and y in px and confidence of a set of `keypoint_files.SETS`, one for each
                box, or None; for one image, its array. Bodies are moved onto them. Without boxes they say where people
                are.
            turns: per image (n,) degrees clockwise from which on upright crops are looked for, as when the frame before
                is known: images are frames of a video then, and their people tell no camera. None: as detections lean.
            refine: see the class, which it overrides.

        Returns:
            One prediction per box, in the order of images and boxes: a list, which can also be shown and written.

        Raises:
            FileNotFoundError: there is no such image.
            ValueError: if a box, an image, intrinsics or a depth map cannot be used; the message names it.
        """
        if not isinstance(enlarge, Real) or not 0 < enlarge <= LARGEST:
            raise ValueError(f"enlarge is {enlarge}: give a factor between 0 and {LARGEST:g}.")
        if is_one(images) and boxes is not None and not isinstance(boxes, str):
            boxes = [boxes]
        photos = photos_of(images, intrinsics, self.crop_focal_length)
        arrays = [photo.image for photo in photos]
        if isinstance(depth, DepthMap):
            depth = [depth]
        self.check_takes_depth(depth is not None)
        if self._takes_depth:
            check_depth(arrays, depth)
        points = given_keypoints([keypoints] if is_one(images) and keypoints is not None else keypoints, len(photos))
        if boxes is None and keypoints is not None:
            boxes = boxes_of_keypoints(points)
        elif boxes is None:
            boxes = self.detect(arrays)
        elif isinstance(boxes, str):
            boxes, enlarge = whole_boxes(boxes, arrays), 1.0  # an image has room around the person

        def predict(photos: Sequence[Photo], chosen: Collection[int]) -> Iterator[PersonPrediction]:
            asked = people_asked_for(photos, boxes, enlarge, points, turns, self.upright)
            people = [one for one in asked if one["image_index"] in chosen]  # all boxes are checked before a batch runs
            return in_batches(lambda batch: self._run(arrays, batch, depth, refine), people, self.batch_size)

        predicted = list(predict(photos, range(len(photos))))
        if turns is None and self.crop_focal_length is None:  # one frame of a video shall not differ from the next
            cameras = cameras_by_people(photos, predicted)
            told = {i for i, camera in enumerate(cameras) if camera is not photos[i].camera}
            photos = [photo._replace(camera=camera) for photo, camera in zip(photos, cameras, strict=True)]
            again = predict(photos, told)
            predicted = [next(again) if person.image_index in told else person for person in predicted]
        return People(predicted, photos, self.origin)

    def video(self, path: str | Path, output: str | Path, **options: Any) -> Any:
        """The people of a video and their motion: `hmr_jax.video.predict_video`, which has the options."""
        return importlib.import_module("hmr_jax.video").predict_video(self, path, output, **options)  # stands above

    def detect(self, images: Images, known: Detections | None = None) -> list[Detections]:
        """The people in each image, by `detector`; `known` are those of an image that all are like."""
        if self.detector is None:
            self.detector = Detector()
        return find_people(self.detector, image_list(images), known)

    def find_boxes(self, images: Images) -> list[np.ndarray]:
        """Boxes (n, 4) of the people whom `detect` finds in each image."""
        return [one.boxes.reshape(-1, 4) for one in self.detect(images)]

    def _run(self, images, batch: Sequence[dict], depth, refine: bool | None) -> list[PersonPrediction]:
        """Runs the network on a batch, and refines what it says."""
        crops, inputs = self._inputs(images, batch, depth)
        names = ("box_center", "box_size", "box_turn", "focal_length", "principal_point")
        geometry = [np.array([person[name] for person in batch], np.float32) for name in names]
        inputs = {name: pad(array, self.batch_size) for name, array in inputs.items()}
        fields = self._step(self._params, inputs, *(pad(array, self.batch_size) for array in geometry))
        arrays = jax.device_get(fields)
        found = [
            PersonPrediction(**person, crop=crop, **{name: array[i] for name, array in arrays.items()})
            for i, (person, crop) in enumerate(zip(batch, crops, strict=True))
        ]
        found = [person if person.lens is None else through_lens(person) for person in found]
        if not (self.refine if refine is None else refine) or not any(map(is_seen, found)):
            return found
        return self._refiner.to_what_is_seen(found)

    def _inputs(self, images, batch: Sequence[dict], depth) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """The crops of some people and what the network reads of them; sets "box_turn" of each."""
        if self.upright:
            squares = [self._square(images, person, CropInTurns) for person in batch]
            starts = np.array([person["box_turn"] for person in batch])
            turns, crops, encoded = look_upright(lambda number, turn: squares[number](turn), self._encoded, starts)
            for person, turn in zip(batch, turns, strict=True):
                person["box_turn"] = float(turn)
            where = (np.array([person[name] for person in batch]) for name in ("box_center", "box_size", "box_turn"))
            for person, found in zip(batch, landmarks_in_image(encoded["landmarks"], *where), strict=True):
                person["landmarks"] = found
            return crops, encoded
        crops = np.stack([self._square(images, person, extract_crop) for person in batch])
        return crops, {"image": crops} | (
            crop_depths(depth, batch, self.config.data.crop_size) if self._takes_depth else {}
        )

    def _encoded(self, crops: np.ndarray) -> dict[str, np.ndarray]:
        """What the encoder says of at most a batch of crops."""
        found: Any = jax.device_get(self._encode(self._params, pad(crops, self.batch_size)))
        return {name: array[: len(crops)] for name, array in found._asdict().items()}

    def _square(self, images, person: dict, cut: Callable) -> Any:
        """What `cut`, of `geometry.crops`, makes of the person's square."""
        center, side = person["box_center"], person["box_size"]
        return cut(images[person["image_index"]], center, side, self.config.data.crop_size)

    def _predict(
        self, params, inputs, box_center, box_size, box_turn, focal_length, principal_point
    ) -> dict[str, jax.Array]:
        prediction: Any = self.model.apply(to_variables(params), inputs, train=False)
        if self.upright:
            prediction = turn_back(prediction, box_turn)
        camera = box_center, box_size, principal_point, focal_length
        if self.crop_focal_length is None:
            translation, seen = place(prediction, *camera, self.config.model.focal_length)
        else:
            translation, seen = place_as_hmr2(prediction, *camera)
        wanted = {field.name for field in dataclasses.fields(PersonPrediction)}
        fields = {name: value for name, value in vars(prediction).items() if value is not None and name in wanted}
        return fields | {"translation": translation, "keypoints_image": seen}
