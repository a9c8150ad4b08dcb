"""The ids of very many leads: 16 bytes each where they are uuids, made into text only when somebody asks."""

import binascii
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, overload
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from worker.statistics import BoolArray, IntArray

_SCATTER = 0x9E3779B1  # Knuth's multiplicative hash (The Art of Computer Programming 3, 6.4): its top bit is the half


class UuidIds(Sequence[str]):
    """Ids that are uuids, as an array of shape (n, 16); indexed by a place they are text, by an array these again."""

    __slots__ = ("raw",)

    def __init__(self, raw: NDArray[np.uint8]) -> None:
        self.raw = raw

    def __len__(self) -> int:
        return len(self.raw)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice | IntArray | BoolArray) -> "UuidIds": ...
    def __getitem__(self, place: Any) -> "str | UuidIds":
        """Give one id as text, or some of them."""
        found = self.raw[place]
        return str(UUID(bytes=found.tobytes())) if found.ndim == 1 else UuidIds(found)

    def __iter__(self) -> Iterator[str]:
        """Give them as text, one by one."""
        return iter(self.tolist())

    def tolist(self) -> list[str]:
        """Give them as text."""
        digits = binascii.hexlify(self.raw.tobytes()).decode("ascii")
        pieces = (digits[i : i + 32] for i in range(0, len(digits), 32))
        return [f"{p[:8]}-{p[8:12]}-{p[12:16]}-{p[16:20]}-{p[20:]}" for p in pieces]


Ids = UuidIds | NDArray[np.object_]  # objects are text


def text_ids(ids: Sequence[str]) -> NDArray[np.object_]:
    """Keep ids of any kind as objects, so that one absurdly long id costs no more than itself."""
    result = np.empty(len(ids), dtype=object)
    result[:] = ids
    return result


def half_by_id(ids: Ids) -> BoolArray:
    """Mark one half of the leads by a hash of the id's text, the same on every machine and however it is stored."""
    if isinstance(ids, UuidIds):
        digits = memoryview(binascii.hexlify(ids.raw.tobytes()))
        sums = (zlib.crc32(digits[i : i + 32]) for i in range(0, len(digits), 32))
    else:
        sums = (zlib.crc32(text.replace("-", "").encode("utf-8", "replace")) for text in ids)
    hashed = np.fromiter(sums, dtype=np.uint32, count=len(ids)).astype(np.uint64)
    half: BoolArray = (hashed * np.uint64(_SCATTER)) >> np.uint64(31) & np.uint64(1) == 1
    return half


def order_by_client_and_id(client: IntArray, ids: Ids) -> IntArray:
    """Find the order of client first and then id, the same in whatever order the rows came."""
    if isinstance(ids, UuidIds):
        high, low = np.ascontiguousarray(ids.raw).view(">u8").astype(np.uint64).T if len(ids) else ([], [])
        return np.lexsort((low, high, client))
    texts, owners = ids.tolist(), client.tolist()
    return np.array(sorted(range(len(texts)), key=lambda i: (owners[i], texts[i])), dtype=np.int64)
