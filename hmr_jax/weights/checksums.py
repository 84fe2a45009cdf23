"""The checksums in checkpoints of PyTorch, which PyTorch itself does not look at."""

import zipfile
from pathlib import Path

from hmr_jax.weights.torch_files import checkpoint_files

_PIECE = 2**22  # bytes that are read at a time


def check_sums(path: str | Path) -> None:
    """Compares the members of zip files of torch.save with their checksums, for which it reads them whole.

    Raises:
        ValueError: a member is damaged. Where no checksum is right, the writer has computed none.
    """
    for file in checkpoint_files(path):
        with file.open("rb") as opened:
            if opened.read(4) != b"PK\x03\x04":
                continue
        try:
            with zipfile.ZipFile(file) as archive:
                members = [info for info in archive.infolist() if info.file_size]
                damaged = [info.filename for info in members if not _is_whole(archive, info)]
        except Exception as error:  # of zipfile and zlib
            raise ValueError(f"{file} is damaged ({error}): download it again.") from error
        if 0 < len(damaged) < len(members):
            raise ValueError(f"{file} is damaged (the checksum of {damaged[0]} is another): download it again.")


def _is_whole(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
    try:
        with archive.open(info) as member:
            while member.read(_PIECE):
                pass
    except zipfile.BadZipFile as error:
        if "CRC" in str(error):
            return False
        raise
    return True
