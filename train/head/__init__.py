"""Builds the embedded head: registers the UV layout to ICT-FaceKit, draws our own mesh, carries the modes over."""
