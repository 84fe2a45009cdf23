"""What the builders of SMPL-X labels share: the options that say where body models are, and how well SMPL must fit."""

from typing import Any

from data_pipelines.builders.base import RecordBuilder
from data_pipelines.builders.labels.smplx_labels import MAX_ERROR, SmplxFitter, load_fitter


class SmplxBuilder(RecordBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A data set whose labels of SMPL-X become labels of SMPL."""

    def __init__(
        self, *, body: str = "", smplx: str = "", vertex_map: str = "", max_error: float = MAX_ERROR, **kwargs: Any
    ):
        """Sets where the body models are.

        Args:
            body: folder with SMPL_NEUTRAL, its file, or "default".
            smplx: folder with SMPLX_NEUTRAL, SMPLX_MALE and SMPLX_FEMALE, as far as the labels need them, or the file
                of the neutral body.
            vertex_map: smplx2smpl.pkl.
            max_error: people whose SMPL body is further from their SMPL-X body make no record, mm.
            **kwargs: see `RecordBuilder`.
        """
        super().__init__(**kwargs)
        self.body, self.smplx, self.vertex_map, self.max_error = body, smplx, vertex_map, max_error

    @property
    def fitter(self) -> SmplxFitter:
        """From SMPL-X to SMPL.

        Raises:
            ValueError: an option is missing.
        """
        return load_fitter(self.smplx, self.vertex_map, self.body)
