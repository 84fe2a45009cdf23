"""People whose truth is known, for the writers of this folder; px with whole numbers at pixel centres."""

import io
import pickle
from functools import lru_cache

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

from hmr_jax.body.labelled import load_labelled_bodies

SIZE = 160


@lru_cache(maxsize=4)
def people(count: int = 6, seed: int = 5, size: int = SIZE) -> dict[str, np.ndarray]:
    """What the generator draws, with all 44 keypoints projected from pose, betas, translation and intrinsics."""
    from data_pipelines.synthetic.people import SyntheticPeople

    generator = SyntheticPeople(size=size, seed=seed, margin=2.0, workers=1)
    drawn = generator.batch(range(count))
    generator.close()
    drawn["intrinsics"] = drawn["intrinsics"].astype(np.float64)
    drawn["intrinsics"][:, :2, 2] -= 0.5
    drawn["box_center"] = drawn["box_center"] - 0.5
    drawn["pose"] = drawn["pose"].reshape(count, 72)
    keypoints = load_labelled_bodies("default").keypoints("n", drawn["pose"], drawn["betas"], drawn["translation"])
    points = keypoints @ drawn["intrinsics"].transpose(0, 2, 1)
    ones = np.ones((count, 44, 1))
    drawn["keypoints_3d"] = np.concatenate([keypoints, ones], 2)
    drawn["keypoints_2d"] = np.concatenate([points[..., :2] / points[..., 2:], ones], 2)
    return drawn


def jpeg(image: np.ndarray, quality: int = 92) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return file.getvalue()


def world_cameras(count: int, seed: int = 0) -> np.ndarray:
    """(count, 4, 4) random maps from world to camera."""
    rng = np.random.default_rng(seed)
    cameras = np.tile(np.eye(4), (count, 1, 1))
    cameras[:, :3, :3] = Rotation.random(count, rng=rng).as_matrix()
    cameras[:, :3, 3] = rng.normal(0, 2, (count, 3))
    return cameras


def to_world(drawn: dict[str, np.ndarray], cameras: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 72) poses and (N, 3) translations in world axes of the people seen by (N, 4, 4) cameras."""
    rotation, shift = cameras[:, :3, :3], cameras[:, :3, 3]
    root = load_labelled_bodies("default").root("n", drawn["betas"].astype(np.float64))
    pose = drawn["pose"].astype(np.float64)
    inverse = rotation.transpose(0, 2, 1)
    pose[:, :3] = (Rotation.from_matrix(inverse) * Rotation.from_rotvec(pose[:, :3])).as_rotvec()
    # The root joint, in the camera at j0 + t, is the same point of the world.
    translation = np.einsum("nij,nj->ni", inverse, root + drawn["translation"] - shift) - root
    return pose, translation


def python2_pickle(value) -> bytes:
    """A pickle as Python 2 wrote it: text as byte strings, and NumPy under its old names."""
    return _pickled(value).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")


def _pickled(value) -> bytes:
    file = io.BytesIO()
    _Python2Pickler(file, protocol=2).dump(value)
    return file.getvalue()


class _Python2Pickler(pickle._Pickler):
    """Protocol 2 with `str` and `bytes` both written as Python 2's byte strings."""

    dispatch = dict(pickle._Pickler.dispatch)  # noqa: RUF012

    def _save_text(self, text):
        data = text.encode("latin1") if isinstance(text, str) else text
        if len(data) < 256:
            self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
        else:
            self.write(pickle.BINSTRING + len(data).to_bytes(4, "little") + data)
        self.memoize(text)

    dispatch[str] = _save_text
    dispatch[bytes] = _save_text
