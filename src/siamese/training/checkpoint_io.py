"""AtomicCheckpointIO: how Lightning writes and reads checkpoints, so that none is ever lost."""

from __future__ import annotations

from typing import Any

from pytorch_lightning.plugins.io import TorchCheckpointIO

from siamese.checkpoint_files import read_checkpoint, write_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints whole or not at all, and checks them when they are read.

    Lightning's own writer goes through the folder for temporary files. Where that lies on another
    file system, it copies *onto* the checkpoint before: a kill, or a full disk, in the middle loses
    both. This one keeps the old file until the new one lies beside it, flushed and read back.
    :func:`siamese.train` uses it; so does any Trainer::

        pl.Trainer(plugins=[siamese.AtomicCheckpointIO()])

    Remote paths (``s3://...``) are left to Lightning.

    Raises:
        CheckpointError: in training, a disk that is full or cannot be written; a checkpoint to
            resume that is damaged, or holds more than data.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        """Write a checkpoint; see :func:`siamese.checkpoint_files.write_checkpoint`."""
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
        else:
            write_checkpoint(checkpoint, path)

    def load_checkpoint(
        self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read a checkpoint as data; see :func:`siamese.checkpoint_files.read_checkpoint`."""
        if "://" in str(path) or weights_only is False:
            found: dict[str, Any] = super().load_checkpoint(path, map_location, weights_only)
            return found
        return read_checkpoint(path, map_location)
