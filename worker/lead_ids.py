"""The ids of very many leads: 16 bytes each where they are uuids, made into text only when somebody asks."""

import re
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Any, overload
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from worker.ordering import order_by
from worker.statistics import BoolArray, IntArray

_SCATTER = np.uint64(0x9E3779B97F4A7C15)  # of multiplicative hashing (Knuth, The Art of Computer Programming 3, 6.4)
_HEXADECIMAL = np.frombuffer(bytes(range(256)).hex().encode(), dtype=np.uint16)  # the two digits of each byte
BLOCK = 2**16  # ids that are text at a time
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
        return self.lines().decode("ascii").split()

    def lines(self) -> bytes:
        """Give them as text, each ended by a newline."""
        digits = _HEXADECIMAL[self.raw].view(np.uint8)
        text = np.full((len(self.raw), 37), ord("-"), dtype=np.uint8)
        for group, (low, high) in enumerate(pairwise((0, 8, 12, 16, 20, 32))):
            text[:, low + group : high + group] = digits[:, low:high]
        text[:, 36] = ord("\n")
        return text.tobytes()


Ids = UuidIds | NDArray[np.object_]  # objects are text


def text_ids(ids: Sequence[str]) -> NDArray[np.object_]:
    """Keep ids of any kind as objects, so that one absurdly long id costs no more than itself."""
    result = np.empty(len(ids), dtype=object)
    result[:] = ids
    return result


def join_ids(parts: Sequence[Ids]) -> Ids:
    """Put ids of one kind together."""
    raw = [part.raw for part in parts if isinstance(part, UuidIds)]
    return UuidIds(np.concatenate(raw)) if raw else np.concatenate(list(parts))


def lines_in_order(ids: Ids) -> Iterator[bytes]:
    """Give the ids as text in order, each ended by a newline, some at a time: as text they take more room."""
    if not isinstance(ids, UuidIds):
        yield "".join(f"{text}\n" for text in sorted(ids.tolist())).encode()
        return
    high, low = _words(ids)
    order = np.argsort(high)
    first = high[order]
    if (first[1:] == first[:-1]).any():  # the second half decides
        order = np.lexsort((low, high))
    for start in range(0, len(order), BLOCK):
        yield ids[order[start : start + BLOCK]].lines()


def half_by_id(ids: Ids) -> BoolArray:
    """Mark one half of the leads by a hash of the id, the same on every machine and however the id is stored."""
    if not isinstance(ids, UuidIds):
        ids = UuidIds(np.frombuffer(b"".join(map(_sixteen_bytes, ids)), dtype=np.uint8).reshape(-1, 16))
    high, low = _words(ids)
    mixed = (high ^ (low * _SCATTER)) * _SCATTER
    mixed = (mixed ^ (mixed >> np.uint64(32))) * _SCATTER
    half: BoolArray = mixed >> np.uint64(63) == 1
    return half


def _sixteen_bytes(text: str) -> bytes:
    """Give the bytes of a uuid, and of any other text as many that stand for it."""
    if _UUID.fullmatch(text):
        return bytes.fromhex(text.replace("-", ""))
    return blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()


def _words(ids: UuidIds) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Give each id as two words, the first of which decides first in the order of the texts."""
    high, low = np.ascontiguousarray(ids.raw).view(">u8").reshape(-1, 2).astype(np.uint64).T
    return high, low


def order_by_client_and_id(client: IntArray, ids: Ids) -> IntArray:
    """Find the order of client first and then id, the same in whatever order the rows came."""
    if isinstance(ids, UuidIds):
        high, low = _words(ids)
        return order_by(client, high, low)
    texts, owners = ids.tolist(), client.tolist()
    return np.array(sorted(range(len(texts)), key=lambda i: (owners[i], texts[i])), dtype=np.int64)
