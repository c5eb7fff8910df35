"""One BLAS thread while any run is under way, the old number afterwards."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from core.utils.blas import BlasLimit


def threads() -> set[int]:
    np.ones((2, 2)) @ np.ones((2, 2))
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_runs_may_overlap_in_any_order():
    with threadpool_limits(2, user_api="blas"):
        before = threads()
        limit = BlasLimit()
        limit.enter()
        limit.enter()
        assert threads() == {1}
        limit.leave()
        assert threads() == {1}
        with limit:
            assert threads() == {1}
        assert threads() == {1}
        limit.leave()
        assert threads() == before


def test_runs_of_two_sdks_share_the_limit():
    """BLAS has one for the process: whoever leaves last brings the old number back."""
    with threadpool_limits(2, user_api="blas"):
        before = threads()
        first, second = BlasLimit(), BlasLimit()
        first.enter()
        second.enter()
        first.leave()
        assert threads() == {1}
        second.leave()
        assert threads() == before
