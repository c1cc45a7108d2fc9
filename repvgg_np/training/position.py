"""Where in a run we are, and the running sums of the epoch."""

import dataclasses


@dataclasses.dataclass
class Position:
    """How far a run has come.

    The sums are Python's floats: JSON writes them with all the digits that it takes to read back the same float, so a
    resumed epoch adds up to the same bits.

    Attributes
    ----------
    epoch : int
        The epoch in progress, from 0.
    step : int
        How many steps of it are done.
    images : int
        How many pictures they had.
    loss_sum : float
        The sum over those pictures of the loss.
    correct : float
        How many of them were predicted correctly (with mixup: the sum of the targets' shares of the predicted classes).
    seconds : float
        How long the epoch has taken so far.
    timed_images, timed_seconds : int, float
        The same without the first step of each process, which compiles and touches memory for the first time.
    """

    epoch: int = 0
    step: int = 0
    images: int = 0
    loss_sum: float = 0.0
    correct: float = 0.0
    seconds: float = 0.0
    timed_images: int = 0
    timed_seconds: float = 0.0

    def count_step(self, images, loss, correct, seconds, timed):
        """Add a step.

        Parameters
        ----------
        images : int
            Pictures in the batch.
        loss : float
            Their mean loss.
        correct : float
            How many were predicted correctly.
        seconds : float
            How long the step took.
        timed : bool
            Whether that says how fast steps are: False for the first step of a process.
        """
        self.step += 1
        self.images += images
        self.loss_sum += loss * images
        self.correct += correct
        self.seconds += seconds
        if timed:
            self.timed_images += images
            self.timed_seconds += seconds

    def next_epoch(self):
        """Return the beginning of the next epoch."""
        return Position(epoch=self.epoch + 1)

    def describe(self, steps):
        """Say in words where this is, in a run of so many steps per epoch.

        Parameters
        ----------
        steps : int

        Returns
        -------
        str
            Such as "in epoch 3 after 16 of 390 steps"; epochs count from 1 here.
        """
        if self.step:
            return f"in epoch {self.epoch + 1} after {self.step} of {steps} steps"
        return f"at the end of epoch {self.epoch}" if self.epoch else "at the beginning"

    @property
    def loss(self):
        """The mean loss of the epoch so far."""
        return self.loss_sum / max(self.images, 1)

    @property
    def accuracy(self):
        """The part of the epoch's pictures so far that was predicted correctly."""
        return self.correct / max(self.images, 1)

    @property
    def images_per_second(self):
        """How fast training is; where there was no step but a process's first, how fast that was."""
        if self.timed_images:
            return self.timed_images / self.timed_seconds
        return self.images / self.seconds if self.seconds else 0.0
