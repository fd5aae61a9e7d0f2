"""A training run of a stranger's module over several processes.

Started by test_calibrator_processes: PROCESSES FOLDER [CHECKPOINT].
"""

import json
import sys
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import nn

import siamese

# 604,450 pairs: streamed; and no multiple of 3, so that the sampler repeats rows.
ROWS, IDENTITIES = 1100, 100


class Scaled(pl.LightningModule):
    """Element by element, so that a row's embedding does not depend on the rows beside it."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.5, 1.0, 2.0, 1.5]))
        self.register_buffer("threshold", torch.tensor(float("nan"), dtype=torch.float64))

    def training_step(self, batch, _):
        return (batch[0] * self.scale).square().mean()

    def validation_step(self, batch, _):
        vectors, who, row = batch
        return {"embeddings": vectors * self.scale, "labels": who, "index": row}

    def configure_optimizers(self):
        # The embeddings stay, whatever the batches.
        return torch.optim.SGD(self.parameters(), lr=0.0)


def data() -> torch.utils.data.TensorDataset:
    generator = torch.Generator().manual_seed(0)
    who = torch.arange(ROWS) % IDENTITIES
    centres = torch.randn(IDENTITIES, 4, generator=generator)
    # Rounded, so that many distances are equal.
    vectors = ((centres[who] + 0.3 * torch.randn(ROWS, 4, generator=generator)) * 8).round() / 8
    return torch.utils.data.TensorDataset(vectors, who, torch.arange(ROWS))


def run(processes: int, folder: Path, checkpoint: str | None = None) -> None:
    module = Scaled()
    # The last one's threshold is the module's.
    calibrators = [
        siamese.ThresholdCalibrator(
            pairs=siamese.BalancedPairs(), split="balanced", prefix="balanced/"
        ),
        siamese.ThresholdCalibrator(
            siamese.Fmr(1e-3), pairs=siamese.AllPairs(), split="fmr", prefix="fmr/"
        ),
        siamese.ThresholdCalibrator(pairs=siamese.AllPairs(), prefix="val/"),
    ]
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        max_epochs=2 if checkpoint else 1,
        limit_train_batches=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=2,
        callbacks=[
            *calibrators,
            pl.callbacks.ModelCheckpoint(folder, "last", enable_version_counter=False),
        ],
    )
    rows = data()
    trainer.fit(
        module,
        torch.utils.data.DataLoader(rows, batch_size=64),
        torch.utils.data.DataLoader(rows, batch_size=64),
        ckpt_path=checkpoint,
        weights_only=True,
    )
    found = [c.calibration.point.to_dict() for c in calibrators]
    for point in found:
        del point["step"]  # fewer steps are an epoch where more processes share it
    written = {
        "points": found,
        "threshold": float(module.threshold).hex(),
        "epoch": trainer.current_epoch,
    }
    metric, (vectors, who, index) = siamese.VerificationThreshold(), rows.tensors
    mine = torch.arange(trainer.global_rank, ROWS, processes)
    metric.update(vectors[mine], who[mine], index[mine])
    written["metric"] = [metric.calibration().threshold.hex(), float(metric.compute()).hex()]
    (folder / f"rank{trainer.global_rank}.json").write_text(json.dumps(written, sort_keys=True))


if __name__ == "__main__":
    run(int(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:4])
