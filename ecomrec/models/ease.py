"""EASE (Steck 2019, Embarrassingly Shallow Autoencoders for Sparse Data): fitted on decayed rows, served with decayed rows.

B = I - P diag(P)^-1 with P = (X'X + lambda I)^-1; the diagonal of B is zero. `fit` is exact and needs items² floats of
memory and items³ time; `fit_sparse` solves each item's regression on its neighbours alone and needs items * neighbours.
"""

import numpy as np
from scipy import linalg, sparse

from ecomrec.errors import EcomrecError

STRIP = 1024  # rows that are mirrored at once


def gram(rows: sparse.csr_matrix) -> np.ndarray:
    """X'X, float32 [I, I]."""
    return np.asarray((rows.T @ rows).todense(), dtype=np.float32)


def fit(product: np.ndarray, penalty: float) -> np.ndarray:
    """B, float32 [I, I], from the Gram matrix `product` (left as it is) by Cholesky in float32."""
    matrix = product.copy(order="F")
    matrix[np.diag_indices_from(matrix)] += penalty
    factor, info = linalg.lapack.spotrf(matrix, lower=1, clean=0, overwrite_a=1)
    if info:
        raise EcomrecError(f"EASE cannot be fitted: the Gram matrix plus {penalty:g} is not positive definite (spotrf says {info})", "raise `lambda` in the recipe")
    inverse, _ = linalg.lapack.spotri(factor, lower=1, overwrite_c=1)
    # In place, as a matrix may be gigabytes: the lower half is copied to the upper, and as it is symmetric then its columns are its rows.
    weights = inverse.T
    for first in range(0, len(weights), STRIP):
        last = first + STRIP
        weights[last:, first:last] = weights[first:last, last:].T
        weights[first:last, first:last] = np.triu(weights[first:last, first:last]) + np.triu(weights[first:last, first:last], 1).T
    weights /= -np.diag(weights).copy()
    np.fill_diagonal(weights, 0.0)
    return weights


def fit_sparse(product: sparse.csr_matrix, penalty: float, neighbours: int) -> sparse.csr_matrix:
    """B with at most `neighbours` weights a column, float32 [I, I]: item j is regressed on the items that share most with it.

    The exact solution restricted to a neighbourhood, as fsSLIM does for SLIM (Ning & Karypis 2011); `product` is X'X, sparse.
    """
    items, columns = product.shape[0], []
    product = sparse.csc_matrix(product, dtype=np.float64)
    diagonal = product.diagonal()
    for item in range(items):
        span = slice(product.indptr[item], product.indptr[item + 1])
        near, shared = product.indices[span], product.data[span]
        other = near != item
        near, shared = near[other], shared[other]
        if len(near) > neighbours:
            likeness = shared / np.sqrt(diagonal[near])
            near = near[np.sort(np.argpartition(likeness, -neighbours)[-neighbours:])]
        near = np.sort(near)
        matrix = product[:, near][near].toarray()
        matrix[np.diag_indices_from(matrix)] += penalty
        right = product[:, [item]].toarray().ravel()[near]
        solved = linalg.solve(matrix, right, assume_a="pos", overwrite_a=True) if len(near) else right
        columns.append(sparse.csc_matrix((solved.astype(np.float32), (near, np.zeros(len(near), dtype=np.int64))), shape=(items, 1)))
    return sparse.csr_matrix(sparse.hstack(columns))
