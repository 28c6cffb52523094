"""Who is shown what: the most valuable pairs first, as long as the user may be contacted and the promotion has budget."""

import numpy as np

from ecomrec.models.kernels import compiled


def choose(users: np.ndarray, promotions: np.ndarray, value: np.ndarray, room: np.ndarray, budget: np.ndarray) -> np.ndarray:
    """bool [P]: the pairs that are taken. users and promotions int64 [P] (numbers), value float64 [P], of which only those above 0 are wanted; room int64 [U]
    and budget int64 [promotions]: contacts that each may still have. Ties go to the earlier pair.

    Greedy by value: exact for one promotion, or where no budget binds; else within half of the best possible (a matroid intersection, Jenkyns 1976).
    """
    order = np.argsort(-value, kind="stable")
    return _take(order[value[order] > 0], users, promotions, room.copy(), budget.copy())


@compiled
def _take(order, users, promotions, room, budget):
    taken = np.zeros(len(users), dtype=np.bool_)
    for pair in order:
        if room[users[pair]] > 0 and budget[promotions[pair]] > 0:
            room[users[pair]] -= 1
            budget[promotions[pair]] -= 1
            taken[pair] = True
    return taken
