"""What a checkpoint is in a transfer."""

from enum import StrEnum


class Role(StrEnum):
    """What a checkpoint is in a transfer; its value is what people read."""

    SOURCE_BASE = "source base"
    SOURCE_TUNED = "source fine-tuned"
    TARGET_BASE = "target base"
    RECYCLED = "recycled"
    TARGET_TUNED = "target fine-tuned"

    @property
    def key(self) -> str:
        """The role as part of a metric's or a tag's name, for example `source_fine_tuned`."""
        return self.value.replace(" ", "_").replace("-", "_")
