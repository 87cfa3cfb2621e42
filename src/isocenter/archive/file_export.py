"""Writing the files of instances to folders of the server's host, as a client names them."""

import os
import secrets
import stat
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from isocenter.archive.content import ContentReader, StoredFile
from isocenter.archive.workers import Workers
from isocenter.errors import UnwritableFileError

__all__ = ["FileExporter"]


class FileExporter:
    """Writes copies of stored files.

    Parameters
    ----------
    own_folders
        Nothing is written into these: they hold what the server itself lives on.
    """

    def __init__(
        self, workers: Workers, content: ContentReader, *, own_folders: Sequence[Path]
    ) -> None:
        self._workers = workers
        self._content = content
        self._own_folders = tuple(Path(os.path.realpath(folder)) for folder in own_folders)

    async def export(self, public_id: str, path: str) -> bool:
        """Write the file of an instance; a regular file that is there already is replaced.

        Returns
        -------
        bool
            False if there is no such instance.

        Raises
        ------
        UnwritableFileError
            If the file cannot be written, or lies in a folder of the server.
        MissingFileError, CorruptedBlobError
            If the stored file has vanished or is damaged; nothing is written then.

        References
        ----------
        Orthanc REST: POST /instances/{id}/export
        """
        file = await self._content.lookup_file(public_id)
        if file is None:
            return False
        await self._workers.run(self._write, file, path)
        return True

    def _write(self, file: StoredFile, path: str) -> None:
        try:
            target = self._check(path)
            temporary = target.with_name(f".{secrets.token_hex(16)}")
            try:
                _copy(file, temporary)
                os.replace(temporary, target)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary)
                raise
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UnwritableFileError(f"cannot write the file: {reason}") from error
        except ValueError as error:
            raise UnwritableFileError("the path holds a character that no path can") from error

    def _check(self, path: str) -> Path:
        if not path:
            raise UnwritableFileError("the body must be the path of a file")
        target = Path(os.path.realpath(path))
        if any(target.is_relative_to(folder) for folder in self._own_folders):
            raise UnwritableFileError("the folders of the server are not for exports")
        with suppress(FileNotFoundError):
            # Devices and folders must not be replaced.
            if not stat.S_ISREG(os.lstat(target).st_mode):
                raise UnwritableFileError("there is something that is not a file")
        return target


def _copy(file: StoredFile, path: Path) -> None:
    with open(path, "xb", buffering=0) as copy:
        for piece in file.iter_pieces(0, file.size_bytes):
            written = 0
            while written < len(piece):
                written += copy.write(piece[written:])
