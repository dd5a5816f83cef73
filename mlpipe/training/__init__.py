"""Fine-tuning of one model and its export, inside a training job."""
