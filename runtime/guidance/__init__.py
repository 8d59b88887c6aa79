"""What pulls a scene towards a prompt: noise schedule, score distillation, augmentation, rejection."""
