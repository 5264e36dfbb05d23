"""The tree: published vectors, its definition for sizes 0 to 300, and proofs that must be refused."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spoel_audit.merkle import (
    EMPTY_ROOT,
    CompactRange,
    ProofRefused,
    consistency_proof,
    inclusion_path,
    leaf_hash,
    node_hash,
    root_of,
    verify_consistency,
    verify_inclusion,
)
from spoel_audit.verify import recompute_root

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "merkle_vectors.json").read_text())
INPUTS = [bytes.fromhex(text) for text in VECTORS["leaf_inputs_hex"]]
LEAVES = [leaf_hash(entry) for entry in INPUTS]
ROOTS = [bytes.fromhex(text) for text in VECTORS["roots_by_size_hex"]]
MANY_ENTRIES = [number.to_bytes(4) for number in range(301)]
MANY_LEAVES = [leaf_hash(entry) for entry in MANY_ENTRIES]

pytestmark = [pytest.mark.requirement("AU-04"), pytest.mark.invariant("INV-10")]


def decoded(hashes: list[str]) -> list[bytes]:
    return [base64.b64decode(text) for text in hashes]


def test_leaf_hashes_are_the_published_ones():
    assert [leaf.hex() for leaf in LEAVES] == VECTORS["leaf_hashes_hex"]


@pytest.mark.parametrize("size", range(9))
def test_roots_of_three_implementations_are_the_published_ones(size):
    assert root_of(LEAVES[:size]) == ROOTS[size]
    assert CompactRange().extend(LEAVES[:size]).root() == ROOTS[size]
    assert recompute_root(INPUTS[:size]) == ROOTS[size]


@pytest.mark.parametrize("vector", VECTORS["inclusion"], ids=lambda vector: f"{vector['index']}-of-{vector['size']}")
def test_inclusion_paths_are_the_published_ones(vector):
    path = decoded(vector["path"])
    assert inclusion_path(LEAVES[: vector["size"]], vector["index"]) == path
    verify_inclusion(vector["index"], vector["size"], LEAVES[vector["index"]], path, ROOTS[vector["size"]])


@pytest.mark.parametrize("vector", VECTORS["consistency"], ids=lambda vector: f"{vector['old_size']}-{vector['size']}")
def test_consistency_proofs_are_the_published_ones(vector):
    old_size, size, proof = vector["old_size"], vector["size"], decoded(vector["proof"])
    assert consistency_proof(LEAVES[:size], old_size) == proof
    verify_consistency(old_size, size, proof, ROOTS[old_size], ROOTS[size])


def test_compact_range_has_the_defined_root_at_every_size_to_300():
    grown = CompactRange()
    for size in range(301):
        assert grown.size == size
        assert grown.root() == root_of(MANY_LEAVES[:size]) == recompute_root(MANY_ENTRIES[:size])
        assert CompactRange.from_bytes(size, grown.to_bytes()) == grown
        if size < 300:
            grown = grown.append(MANY_LEAVES[size])


@given(batches=st.lists(st.integers(0, 40), max_size=8))
@settings(deadline=None, max_examples=50)
def test_compact_range_does_not_depend_on_how_leaves_are_batched(batches):
    grown, at = CompactRange(), 0
    leaves = MANY_LEAVES * 2
    for count in batches:
        grown = grown.extend(leaves[at : at + count])
        at += count
    assert grown.root() == root_of(leaves[:at])


@pytest.mark.parametrize(("size", "raw"), [(0, bytes(32)), (1, b""), (1, bytes(31)), (2, bytes(64)), (3, bytes(33))])
def test_a_compact_range_with_the_wrong_number_of_hashes_is_refused(size, raw):
    with pytest.raises(ValueError, match=r"peaks|bytes"):
        CompactRange.from_bytes(size, raw)


@given(size=st.integers(1, 300), data=st.data())
@settings(deadline=None, max_examples=60)
def test_every_leaf_of_every_tree_can_be_proved(size, data):
    index = data.draw(st.integers(0, size - 1))
    leaves = MANY_LEAVES[:size]
    verify_inclusion(index, size, leaves[index], inclusion_path(leaves, index), root_of(leaves))


@given(size=st.integers(0, 300), data=st.data())
@settings(deadline=None, max_examples=60)
def test_every_tree_begins_with_every_smaller_one(size, data):
    old_size = data.draw(st.integers(0, size))
    leaves = MANY_LEAVES[:size]
    proof = consistency_proof(leaves, old_size)
    verify_consistency(old_size, size, proof, root_of(leaves[:old_size]), root_of(leaves))


def test_proofs_of_leaves_that_do_not_exist_are_not_made():
    with pytest.raises(ValueError, match="not in a tree of 8"):
        inclusion_path(LEAVES, 8)
    with pytest.raises(ValueError, match="does not begin with one of 9"):
        consistency_proof(LEAVES, 9)


def spoiled(proof: list[bytes]) -> dict[str, list[bytes]]:
    flipped = bytes([proof[0][0] ^ 1]) + proof[0][1:]
    return {
        "missing hash": proof[:-1],
        "extra hash": [*proof, proof[-1]],
        "extra hash in front": [proof[0], *proof],
        "wrong order": [proof[1], proof[0], *proof[2:]],
        "flipped bit": [flipped, *proof[1:]],
        "short hash": [proof[0][:31], *proof[1:]],
        "long hash": [proof[0] + b"\x00", *proof[1:]],
        "nothing": [],
    }


@pytest.mark.parametrize("fault", spoiled([b"\x00" * 32] * 3))
def test_spoiled_inclusion_paths_are_refused(fault):
    path = inclusion_path(MANY_LEAVES[:13], 6)
    with pytest.raises(ProofRefused):
        verify_inclusion(6, 13, MANY_LEAVES[6], spoiled(path)[fault], root_of(MANY_LEAVES[:13]))


@pytest.mark.parametrize("fault", spoiled([b"\x00" * 32] * 3))
@pytest.mark.parametrize("old_size", [4, 6])
def test_spoiled_consistency_proofs_are_refused(fault, old_size):
    proof = consistency_proof(MANY_LEAVES[:13], old_size)
    old_root, root = root_of(MANY_LEAVES[:old_size]), root_of(MANY_LEAVES[:13])
    with pytest.raises(ProofRefused):
        verify_consistency(old_size, 13, spoiled(proof)[fault], old_root, root)


@pytest.mark.parametrize(("index", "size"), [(5, 13), (7, 13), (6, 5), (13, 13), (-1, 13), (0, 0)])
def test_an_inclusion_path_for_another_place_is_refused(index, size):
    path = inclusion_path(MANY_LEAVES[:13], 6)
    with pytest.raises(ProofRefused):
        verify_inclusion(index, size, MANY_LEAVES[6], path, root_of(MANY_LEAVES[:13]))


def test_an_inner_node_is_not_accepted_as_a_leaf():
    inner = node_hash(LEAVES[0], LEAVES[1])
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != inner
    with pytest.raises(ProofRefused):
        verify_inclusion(0, 4, inner, [node_hash(LEAVES[2], LEAVES[3])], root_of(LEAVES[:4]))


def test_consistency_between_equal_or_empty_trees_follows_the_c2sp_rule():
    root = root_of(LEAVES)
    verify_consistency(0, 8, [], EMPTY_ROOT, root)
    verify_consistency(0, 0, [], EMPTY_ROOT, EMPTY_ROOT)
    verify_consistency(8, 8, [], root, root)
    for old_size, size, proof, old_root in [
        (0, 8, [], root),
        (0, 8, [root], EMPTY_ROOT),
        (8, 8, [], EMPTY_ROOT),
        (8, 8, [root], root),
        (9, 8, [], root),
        (-1, 8, [], EMPTY_ROOT),
    ]:
        with pytest.raises(ProofRefused):
            verify_consistency(old_size, size, proof, old_root, root)
