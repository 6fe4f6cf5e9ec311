"""Translations of the interface. Blender translates names, labels and tooltips by their English text, the msgid.

A language is one more entry; what it lacks stays English.
"""

import bpy

_GERMAN = {
    "Portrait": "Porträt",
    "Photo": "Foto",
    "Head": "Kopf",
    "FacePBR Head": "FacePBR-Kopf",
    "Decompose Portrait": "Porträt zerlegen",
    "Turn a portrait photo into a head with physically based maps": "Macht aus einem Porträtfoto einen Kopf mit "
    "physikalisch basierten Karten",
    "Cancel Set-up": "Einrichten abbrechen",
    "Camera of Photo": "Kamera des Fotos",
    "Light of Photo": "Licht des Fotos",
    "Expression": "Ausdruck",
    "Light Removal": "Licht entfernen",
    "Shaded": "Schattiert",
    "Confidence": "Vertrauen",
    "Skin": "Haut",
    "Micro Detail": "Feinrelief",
    "Redness": "Rötung",
    "Relight": "Neu beleuchten",
    "Export Maps": "Karten exportieren",
    "Export GLB": "GLB exportieren",
    "Copy Report": "Bericht kopieren",
    "Free Memory": "Speicher freigeben",
    "Set Up Environment": "Umgebung einrichten",
    "Remove Environment": "Umgebung entfernen",
    "Use This Python": "Dieses Python verwenden",
    "Check Runtime": "Laufzeit prüfen",
    "Ready": "Bereit",
    "Runtime": "Laufzeit",
    "Named in": "Genannt in",
    "Starting": "Startet",
    "Loading": "Lädt",
}
_CONTEXTS = ("*", "Operator")
"""Buttons of operators are looked up under the second."""
_TABLES = {
    "de_DE": {(context, text): own for context in _CONTEXTS for text, own in _GERMAN.items()}
}


def translated(text: str) -> str:
    """A label put together by us, in the interface's language."""
    return bpy.app.translations.pgettext_iface(text)


def register() -> None:
    """Give Blender the tables."""
    bpy.app.translations.register(__package__, _TABLES)


def unregister() -> None:
    """Take them back."""
    bpy.app.translations.unregister(__package__)
