"""The virtual light stage: endless synthetic faces in the HiFi3D UV layout, with exact truth."""
