"""Digest as many bytes as a folder's weights have, on one core and from memory; write nothing.

python sha256.py BLOCK_BYTES FOLDER OUTPUT
"""

import hashlib
import sys
from pathlib import Path

block = bytes(int(sys.argv[1]))
digest = hashlib.sha256()
for path in Path(sys.argv[2]).glob("*.safetensors"):
    for start in range(0, size := path.stat().st_size, len(block)):
        digest.update(memoryview(block)[: size - start])
Path(sys.argv[3]).mkdir()
