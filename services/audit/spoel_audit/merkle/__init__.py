"""The Merkle tree of RFC 6962 over SHA-256: roots, compact ranges and proofs. Pure: standard library only."""

from spoel_audit.merkle.proofs import (
    ProofRefused,
    consistency_proof,
    inclusion_path,
    verify_consistency,
    verify_inclusion,
)
from spoel_audit.merkle.tree import EMPTY_ROOT, HASH_BYTES, CompactRange, leaf_hash, node_hash, root_of

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "CompactRange",
    "ProofRefused",
    "consistency_proof",
    "inclusion_path",
    "leaf_hash",
    "node_hash",
    "root_of",
    "verify_consistency",
    "verify_inclusion",
]
