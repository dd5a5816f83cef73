from __future__ import annotations

import json
from mlpipe.training.loop import train_model

def test_first(make_job, caplog):
    import logging; caplog.set_level(logging.INFO)
    job = make_job(settings="[HYPERPARAMETERS]\nEPOCHS = 8\nLEARNING_RATE = 0.05\nBATCH_SIZE=8\n")
    train_model(job)
    print([r.getMessage() for r in caplog.records])
    for p in sorted(job.output.rglob("*")):
        print(p, p.stat().st_size)
        if p.suffix in(".json",".jsonl"): print(p.read_text()[:1500])
