"""Is a paired difference more than chance: Wilcoxon's signed-rank test by patient, and Holm's correction.

The test (Wilcoxon 1945) takes the mean difference of each patient, because cases of one patient are not independent.
Differences of zero are ranked and then left out (Pratt, JASA 1959). It is exact for up to 50 patients without ties or
zeros and for up to 13 with them, and otherwise by the normal approximation with corrections for ties and continuity.
Several tests are corrected by Holm's step-down procedure (Scand J Stat 1979).
"""

from typing import Final

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import wilcoxon

NO_COMPLETE_CASE: Final = "no_case_with_a_value_in_every_run"
NO_DIFFERENCE: Final = "no_difference"


def signed_rank(
    differences: Float[np.ndarray, " case"], owners: Int[np.ndarray, " case"]
) -> tuple[float | None, str, int]:
    """Test whether the patients' mean differences lie about zero.

    Args:
        differences: of each case.
        owners: index of each case's patient.

    Returns:
        The two-sided p-value, 1 where no patient differs and None without a case; the name of such a reason; and
        the number of patients.
    """
    present, places, counts = np.unique(owners, return_inverse=True, return_counts=True)
    if not len(present):
        return None, NO_COMPLETE_CASE, 0
    means = np.bincount(places, differences) / counts
    if not means.any():
        return 1.0, NO_DIFFERENCE, len(present)
    # Only ranks matter: rounding must not decide between differences that are equal.
    ranked = np.round(means / np.abs(means).max(), 12)
    return float(wilcoxon(ranked, zero_method="pratt").pvalue), "", len(present)


def holm(p_values: Float[np.ndarray, " test"]) -> Float[np.ndarray, " test"]:
    """Holm's corrected p-values, in the order given."""
    order = np.argsort(p_values, kind="stable")
    stepped = np.maximum.accumulate(p_values[order] * np.arange(len(p_values), 0, -1))
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(stepped, 1)
    return corrected
