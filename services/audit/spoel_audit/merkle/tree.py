"""Hashes of an RFC 6962 tree (section 2.1): leaf = SHA-256(0x00 ‖ entry), node = SHA-256(0x01 ‖ left ‖ right)."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of a leaf: 32 bytes."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node over its two children: 32 bytes."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def split_point(size: int) -> int:
    """Return the largest power of two below ``size``: how many leaves its left subtree has.

    Args:
        size: leaves of a tree, at least 2.
    """
    return 1 << (size - 1).bit_length() - 1


def root_of(leaf_hashes: Sequence[bytes]) -> bytes:
    """Return the root (MTH of RFC 6962) over leaf hashes, straight from its recursive definition: O(n)."""
    size = len(leaf_hashes)
    if size == 0:
        return EMPTY_ROOT
    if size == 1:
        return leaf_hashes[0]
    middle = split_point(size)
    return node_hash(root_of(leaf_hashes[:middle]), root_of(leaf_hashes[middle:]))


@dataclass(frozen=True, slots=True)
class CompactRange:
    """What must be kept of a tree in order to append to it: O(log n) hashes.

    Attributes:
        size: number of leaves.
        peaks: roots of the complete subtrees that the binary digits of ``size`` name, largest (leftmost) first.
    """

    size: int = 0
    peaks: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.peaks) != self.size.bit_count():
            raise ValueError(f"a tree of {self.size} leaves does not have {len(self.peaks)} peaks")
        if any(len(peak) != HASH_BYTES for peak in self.peaks):
            raise ValueError(f"every peak is a hash of {HASH_BYTES} bytes")

    @classmethod
    def from_bytes(cls, size: int, raw: bytes) -> Self:
        """Read what ``to_bytes`` wrote.

        Raises:
            ValueError: the bytes are not as many hashes as a tree of this size has peaks.
        """
        return cls(size, tuple(raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES)))

    def to_bytes(self) -> bytes:
        """Return the peaks one after the other, largest first."""
        return b"".join(self.peaks)

    def extend(self, leaf_hashes: Iterable[bytes]) -> "CompactRange":
        """Return the range with these leaves appended: O(1) hashes a leaf on average, O(log n) at most."""
        size, peaks = self.size, list(self.peaks)
        for leaf in leaf_hashes:
            node, carry = leaf, size
            while carry & 1:
                node = node_hash(peaks.pop(), node)
                carry >>= 1
            peaks.append(node)
            size += 1
        return CompactRange(size, tuple(peaks))

    def append(self, leaf: bytes) -> "CompactRange":
        """Return the range with one leaf hash appended."""
        return self.extend((leaf,))

    def root(self) -> bytes:
        """Return the root of the tree: O(log n)."""
        if not self.peaks:
            return EMPTY_ROOT
        root = self.peaks[-1]
        for peak in reversed(self.peaks[:-1]):
            root = node_hash(peak, root)
        return root
