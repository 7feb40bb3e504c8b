"""Errors of the engine, by who can act on them. The `reason` codes travel to the application as they are.

EngineError(reason)
├── BaseUnusable       the operator: a base model is missing, damaged or foreign (path, problem, remedy)
├── FaceModelUnusable  the operator: the file of a model that looks at pictures is missing or altered
├── OutOfMemory        the operator or time: this job did not fit on the device
├── AdapterCorrupt     ours: an adapter file is damaged, foreign, or of another base (path, problem)
├── NotEnoughSelfies   the person: fewer usable selfies than a training needs
├── NothingToShow      the person: none of the pictures drawn may be shown
└── Cancelled          the person took the work back
"""


class EngineError(Exception):
    """Root of everything the engine raises on purpose; `reason` is a stable code."""

    reason = "engine_failed"


class BaseUnusable(EngineError):
    """A base model's folder is missing, damaged or not what it says."""

    reason = "base_unusable"

    def __init__(self, path: str, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}. {remedy}")
        self.path, self.problem, self.remedy = path, problem, remedy


class FaceModelUnusable(EngineError):
    """The file of a face or safety model is missing, or is not the one that was checked and pinned."""

    reason = "face_model_unusable"

    def __init__(self, path: str, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: {problem}. {remedy}")
        self.path, self.problem, self.remedy = path, problem, remedy


class OutOfMemory(EngineError):
    """The work does not fit into the device's memory."""

    reason = "out_of_memory"


class AdapterCorrupt(EngineError):
    """An adapter file is damaged or was made for another base."""

    reason = "adapter_corrupt"

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path, self.problem = path, problem


class NotEnoughSelfies(EngineError):
    """Training was asked for with fewer usable photos than it needs."""

    reason = "not_enough_selfies"

    def __init__(self, usable: int, needed: int) -> None:
        super().__init__(f"{usable} usable selfies, {needed} needed")
        self.usable, self.needed = usable, needed


class NothingToShow(EngineError):
    """Every picture that was drawn is one that no headshot may be."""

    reason = "nothing_to_show"

    def __init__(self, tried: int) -> None:
        super().__init__(f"none of {tried} pictures may be shown")
        self.tried = tried


class Cancelled(EngineError):
    """The work was cancelled."""

    reason = "cancelled"
