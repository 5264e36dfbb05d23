"""Inclusion and consistency proofs: made as in RFC 6962 sections 2.1.1 and 2.1.2, checked as in RFC 9162 section 2.1.

Trees of size 0: consistent with every tree, by an empty proof and the root of the empty tree only (C2SP tlog-witness).
"""

from collections.abc import Sequence

from spoel_audit.merkle.tree import EMPTY_ROOT, HASH_BYTES, node_hash, root_of, split_point


class ProofRefused(ValueError):
    """A proof does not show what it claims to show."""


def inclusion_path(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the path from leaf ``index`` to the root: the leaf's sibling first.

    Raises:
        ValueError: there is no such leaf.
    """
    size = len(leaf_hashes)
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    if size == 1:
        return []
    middle = split_point(size)
    if index < middle:
        return [*inclusion_path(leaf_hashes[:middle], index), root_of(leaf_hashes[middle:])]
    return [*inclusion_path(leaf_hashes[middle:], index - middle), root_of(leaf_hashes[:middle])]


def consistency_proof(leaf_hashes: Sequence[bytes], old_size: int) -> list[bytes]:
    """Return the proof that the tree over these leaves begins with the tree over the first ``old_size`` of them.

    Raises:
        ValueError: the old tree is larger than the new one.
    """
    if not 0 <= old_size <= len(leaf_hashes):
        raise ValueError(f"a tree of {len(leaf_hashes)} leaves does not begin with one of {old_size}")
    if old_size in (0, len(leaf_hashes)):
        return []
    return _subproof(leaf_hashes, old_size, whole=True)


def _subproof(leaf_hashes: Sequence[bytes], old_size: int, *, whole: bool) -> list[bytes]:
    size = len(leaf_hashes)
    if old_size == size:
        return [] if whole else [root_of(leaf_hashes)]
    middle = split_point(size)
    left, right = leaf_hashes[:middle], leaf_hashes[middle:]
    if old_size <= middle:
        return [*_subproof(left, old_size, whole=whole), root_of(right)]
    return [*_subproof(right, old_size - middle, whole=False), root_of(left)]


def verify_inclusion(index: int, size: int, leaf: bytes, path: Sequence[bytes], root: bytes) -> None:
    """Check that ``leaf`` is at ``index`` of the tree of ``size`` leaves with this ``root`` (RFC 9162 section 2.1.3.2).

    Raises:
        ProofRefused: it is not, or a hash is missing, too many, or not 32 bytes long.
    """
    if not 0 <= index < size:
        raise ProofRefused(f"leaf {index} is not in a tree of {size} leaves")
    _refuse_wrong_lengths(leaf, root, *path)
    at, last, computed = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            raise ProofRefused("the path is too long")
        if at & 1 or at == last:
            computed = node_hash(sibling, computed)
            at, last = _climb_while_left(at, last)
        else:
            computed = node_hash(computed, sibling)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise ProofRefused("the path is too short")
    if computed != root:
        raise ProofRefused("the path leads to another root")


def verify_consistency(old_size: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> None:
    """Check that the tree (``size``, ``root``) begins with (``old_size``, ``old_root``) (RFC 9162 section 2.1.4.2).

    Raises:
        ProofRefused: it does not, or a hash is missing, too many, or not 32 bytes long.
    """
    if not 0 <= old_size <= size:
        raise ProofRefused(f"a tree of {size} leaves does not begin with one of {old_size}")
    _refuse_wrong_lengths(old_root, root, *proof)
    if old_size in (0, size):
        _check_trivial_consistency(old_size, size, proof, old_root, root)
        return
    is_complete_subtree = old_size.bit_count() == 1
    nodes = [old_root, *proof] if is_complete_subtree else list(proof)
    old_computed, computed = _roots_by_proof(old_size, size, nodes)
    if old_computed != old_root:
        raise ProofRefused("the proof leads to another old root")
    if computed != root:
        raise ProofRefused("the proof leads to another new root")


def _check_trivial_consistency(old_size: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes) -> None:
    if proof:
        raise ProofRefused("a proof between these sizes is empty")
    if old_size == 0 and old_root != EMPTY_ROOT:
        raise ProofRefused("the old root is not the root of the empty tree")
    if old_size == size and old_root != root:
        raise ProofRefused("two roots of trees of the same size differ")


def _roots_by_proof(old_size: int, size: int, nodes: Sequence[bytes]) -> tuple[bytes, bytes]:
    """Return the old and the new root that the proof leads to."""
    if not nodes:
        raise ProofRefused("the proof is empty")
    at, last = old_size - 1, size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old_computed = computed = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            raise ProofRefused("the proof is too long")
        if at & 1 or at == last:
            old_computed, computed = node_hash(node, old_computed), node_hash(node, computed)
            at, last = _climb_while_left(at, last)
        else:
            computed = node_hash(computed, node)
        at, last = at >> 1, last >> 1
    if last != 0:
        raise ProofRefused("the proof is too short")
    return old_computed, computed


def _climb_while_left(at: int, last: int) -> tuple[int, int]:
    """Skip the levels on which a node at the right edge has no sibling."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last


def _refuse_wrong_lengths(*hashes: bytes) -> None:
    if any(len(each) != HASH_BYTES for each in hashes):
        raise ProofRefused(f"every hash of a proof has {HASH_BYTES} bytes")
