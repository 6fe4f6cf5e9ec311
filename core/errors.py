"""FacePBRError and its few children: what was expected, what came, what to do next.

Every message is one line that a user can act on, in the form
``expected ...; got ...; do ...``. Library failures that a user cannot act on are left to raise as they are.
"""


class FacePBRError(Exception):
    """Base of every error that a user can do something about."""


class InputError(FacePBRError):
    """The photo, texture or map given is missing, unreadable or unusable."""


class NoFaceError(InputError):
    """The photo was read, but no face was found in it."""


class FitError(FacePBRError):
    """Landmarks were found, but no plausible head and camera explain them."""


class HeadError(FacePBRError):
    """A head mesh is missing, unreadable or does not have the expected topology or UV layout."""


class WeightsError(FacePBRError):
    """A weights file is missing, damaged, not safetensors, or does not belong to its stage."""


class OutputError(FacePBRError):
    """A result cannot be written where it was asked for."""
