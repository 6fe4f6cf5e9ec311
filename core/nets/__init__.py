"""The three networks of the MAGINet pipeline: definitions only, no files, no losses, only torch."""

from .maginet import MAGINet
from .pix2pixhd import MultiscaleDiscriminator, Pix2PixHD
from .refinement import RefinementNet

__all__ = ["MAGINet", "MultiscaleDiscriminator", "Pix2PixHD", "RefinementNet"]
