"""A stand-in for core/worker.py: answers as it does, at once, with a box for a head. FACEPBR_PYTHON of tests."""

import json
import os
import shutil
import sys
from pathlib import Path

if sys.argv[1:] != ["-m", "core.worker"]:  # another script: our real Python runs it
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])

source = Path(os.environ["FAKE_RESULT"])
for line in sys.stdin:
    request = json.loads(line)
    if "no face" in request["photo"]:
        answer = {"error": {"type": "NoFaceError", "message": "expected a face; got none"}}
    else:
        target = Path(request["out"]) / Path(request["photo"]).stem
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        with open(os.environ["FAKE_LOG"], "a") as log:
            log.write(target.name + "\n")
        answer = {"result": str(target)}
    print(
        json.dumps(
            {"id": request["id"], "stage": "x", "of": "", "done": 0, "total": 1, "message": ""}
        )
    )
    print(json.dumps({"id": request["id"], **answer}), flush=True)
