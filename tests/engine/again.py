"""Stands for CUDA graphs in tests."""

from engine.recording import Act, Recording


class Again:
    """A recorder for the CPU: calls `act` again. Like a graph's, its replay has the inputs that were there
    when it was recorded, and writes the same outputs. Unlike one, it follows whatever else is replaced."""

    def __init__(self, most: int = 100) -> None:
        self.most, self.recorded, self.replayed, self.forgotten = most, 0, 0, 0

    def record(self, act: Act) -> Recording | None:
        outputs = act()
        if self.recorded == self.most:
            return None
        self.recorded += 1

        def replay() -> None:
            self.replayed += 1
            for mine, made in zip(outputs, act(), strict=True):
                mine.copy_(made)

        return Recording(outputs, replay)

    def forget(self) -> None:
        """Nothing is kept."""
        self.forgotten += 1
