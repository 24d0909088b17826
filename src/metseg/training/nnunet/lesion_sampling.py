"""Patches by lesion: each lesion of a study has the same chance to be looked at, however small."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from metseg.lesions.components import Foreground, label_instances

_MOST_PLACES: Final = 500  # kept of a lesion: patches need not be centred on each of its voxels


class ByLesion:
    """A data set of nnU-Net whose studies tell where their lesions are, where they told where their labels are.

    nnU-Net's loader draws one of the keys of ``class_locations``, each with the same chance, then one of its voxels,
    which the patch is centred on. The keys here are the numbers of lesions. A study without lesions stays as it is.

    Args:
        dataset: of nnU-Net.
        lesion: values of the labels that make a lesion; a connected component is one.
    """

    def __init__(self, dataset: Any, lesion: Iterable[int]) -> None:
        self._dataset, self._lesion = dataset, sorted(lesion)
        self._places: dict[str, dict[int, NDArray[np.int32]]] = {}

    @property
    def identifiers(self) -> Sequence[str]:
        """Names of the studies."""
        names: Sequence[str] = self._dataset.identifiers
        return names

    def load_case(self, identifier: str) -> tuple[Any, Any, Any, Mapping[str, Any]]:
        """Image, labels, labels of the stage before, and what is known of the study, as nnU-Net gives them."""
        image, labels, before, known = self._dataset.load_case(identifier)
        if identifier not in self._places:
            self._places[identifier] = lesion_places(np.isin(np.asarray(labels[0]), self._lesion))
        if places := self._places[identifier]:
            # Where an ignore label is, nnU-Net asks for all voxels that somebody looked at, by a key with -1.
            seen = {key: at for key, at in known["class_locations"].items() if isinstance(key, tuple) and -1 in key}
            known = {**known, "class_locations": {**seen, **places}}
        return image, labels, before, known


def lesion_places(mask: NDArray[np.bool_], most: int = _MOST_PLACES) -> dict[int, NDArray[np.int32]]:
    """Voxels of each connected component, as nnU-Net keeps them: (n, 4), a channel (0) and three axes.

    Args:
        mask: (i, j, k).
        most: voxels of each, evenly chosen where it has more.
    """
    foreground = Foreground.of(label_instances(mask))
    order = np.argsort(foreground.values, kind="stable")
    groups = np.split(foreground.places[order], np.cumsum(foreground.sizes()[1:])[:-1])
    places = {}
    for number, group in enumerate(groups if order.size else (), start=1):
        some = group[:: -(-group.size // most)]
        at = np.stack(np.unravel_index(some, mask.shape), axis=1)
        places[number] = np.pad(at, ((0, 0), (1, 0))).astype(np.int32)
    return places
