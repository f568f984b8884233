"""The digests of the inputs, taken while their bytes go by."""

import hashlib

from components.folder import BLOCK_BYTES
from components.source import Source, SourceFile


class InputDigests:
    """sha256 of every weight file of one model.

    Bytes that go by in file order are not read again; those that a transfer never asks for, or asks for in another
    order than the file has them, are read here. Used by one thread at a time.
    """

    def __init__(self, source: Source, files: tuple[SourceFile, ...]) -> None:
        self._files = {file.path: _FileDigest(source, file) for file in files}

    def offer(self, path: str, offset: int, data: memoryview) -> None:
        """Take note of bytes that were read from `offset` of a file.

        Raises:
            RecycleError: bytes before them cannot be read.
        """
        self._files[path].offer(offset, data)

    def finish(self) -> dict[str, str]:
        """Digest by path, after reading what was never offered.

        Raises:
            RecycleError: it cannot be read.
        """
        return {path: digest.finish() for path, digest in self._files.items()}


class _FileDigest:
    def __init__(self, source: Source, file: SourceFile) -> None:
        self._source = source
        self._file = file
        self._sha256 = hashlib.sha256()
        self._position = 0

    def offer(self, offset: int, data: memoryview) -> None:
        if offset + len(data) > self._position:
            self._catch_up(offset)
            self._sha256.update(data[self._position - offset :])
            self._position = offset + len(data)

    def finish(self) -> str:
        self._catch_up(self._file.size)
        return self._sha256.hexdigest()

    def _catch_up(self, offset: int) -> None:
        block = memoryview(bytearray(max(0, min(BLOCK_BYTES, offset - self._position))))
        while self._position < offset:
            part = block[: offset - self._position]
            self._source.read_into(self._file.path, self._position, part)
            self._sha256.update(part)
            self._position += len(part)
