"""The scale of the loss in fp16, where small gradients would vanish and large ones overflow."""

from dataclasses import dataclass

_FIRST = 2.0**16
_LARGEST = 2.0**24
_WINDOW = 1000


@dataclass(frozen=True, kw_only=True)
class LossScale:
    """A power of two by which losses are multiplied before their gradients are taken; a value, not a state.

    It is halved when a gradient has overflowed, down to 1, and that update is left out; it is doubled after
    1,000 steps without an overflow.

    Source: 1710.03740, section 3.2; window, first and lowest value as in the paper's training framework
    (DeepSpeed: loss_scale_window 1000, initial_scale_power 16, min_loss_scale 1). Theirs waits for a second
    overflow before it halves.
    """

    value: float = 1.0
    """The scale; 1 where there is none."""
    good_steps: int = 0
    """Steps since it was last changed."""

    @classmethod
    def first(cls, precision: str) -> "LossScale":
        """Return the scale that a stage begins with."""
        return cls(value=_FIRST if precision == "fp16" else 1.0)

    def after(self, *, overflow: bool) -> "LossScale":
        """Return the scale of the next step.

        >>> LossScale(value=4.0, good_steps=7).after(overflow=True)
        LossScale(value=2.0, good_steps=0)
        >>> LossScale(value=4.0, good_steps=999).after(overflow=False)
        LossScale(value=8.0, good_steps=0)
        """
        if overflow:
            return LossScale(value=max(self.value / 2, 1.0))
        if self.good_steps + 1 == _WINDOW:
            return LossScale(value=min(self.value * 2, _LARGEST))
        return LossScale(value=self.value, good_steps=self.good_steps + 1)
