"""What a file may claim and hold before it is refused."""

from pydantic import Field

from metseg.core.options import Options

KIB, MIB, GIB = 2**10, 2**20, 2**30


class Limits(Options):
    """Bounds on files from outside. The defaults pass every honest head scan that we know of.

    Deflate cannot shrink data by more than 1032 to 1. A mask that is nearly all zero comes close to that, so a ratio
    tells a bomb from a mask only at sizes that no honest mask has: below ``ratio_free_bytes`` any ratio passes, and
    the memory that can be asked for stays bounded by it.
    """

    max_bytes: int = Field(default=4 * GIB, gt=0, description="most bytes of an image, as stored or as float32")
    max_ratio: float = Field(default=200.0, gt=1, description="most bytes that one compressed byte may become")
    ratio_free_bytes: int = Field(default=512 * MIB, ge=0, description="size up to which the ratio is not looked at")
    max_extension_bytes: int = Field(default=64 * MIB, ge=0, description="most bytes between header and voxels")
    max_header_bytes: int = Field(default=MIB, gt=0, description="longest text header (MetaImage, NRRD)")
    max_members: int = Field(default=200_000, gt=0, description="most members of a gzip file, most files of a zip")
    min_size: int = Field(default=16, gt=0, description="fewest voxels along an axis")
    max_size: int = Field(default=2048, gt=0, description="most voxels along an axis")
    min_spacing_mm: float = Field(default=0.1, gt=0)
    max_spacing_mm: float = Field(default=10.0, gt=0)
    max_shear: float = Field(default=1e-3, gt=0, description="largest cosine between two voxel axes")
    max_nonfinite: float = Field(default=0.01, ge=0, lt=1, description="largest share of NaN and infinite voxels")
    constant_allowed: bool = Field(default=False, description="may all voxels be alike, as in an empty label map")


DEFAULT_LIMITS = Limits()
# A label map may be small, cropped or empty, but every voxel of it must mean something.
LABEL_LIMITS = Limits(min_size=1, max_nonfinite=0.0, constant_allowed=True)
# Models of nnU-Net: four configurations of five folds of its largest network, with the state of their optimisers, take
# some 40 GB. Numbers of weights hardly shrink; those of a training that has not begun shrink to half.
MODEL_LIMITS = Limits(max_bytes=64 * GIB, max_ratio=20.0)
