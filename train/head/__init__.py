"""Builds core/weights/head.safetensors: registers the UV layout to ICT-FaceKit, draws our own mesh, learns the modes."""
