"""Errors of the application, by who can act on them.

LikenessError
├── OperatorError        the operator must mend something: a setting, a token, a disk
│   ├── ConfigError          a setting is missing or wrong (setting, problem, remedy)
│   └── ServiceUnavailable   Redis, the database or the blob store cannot be reached (service, remedy)
├── SendError            a message could not be handed to a chat platform
│   ├── SendLater            time mends it: throttled or a network fault (after_seconds)
│   ├── SendRefused          the person is out of reach until they write again (reason)
│   └── SendImpossible       this item can never be sent as it is (reason)
├── FetchError           a file that a person sent could not be had
│   ├── FetchLater           time mends it (after_seconds)
│   └── FetchImpossible      it is gone, or larger than allowed (reason)
└── BlobMissing          a file that the store promised is not there (key)

Errors carry fields; the sentences a person reads live in `bot.texts`.
"""


class LikenessError(Exception):
    """Root of everything the application raises on purpose."""


class OperatorError(LikenessError):
    """Only the operator can mend this; `str(error)` is one sentence with the remedy."""


class ConfigError(OperatorError):
    """A setting is missing or wrong."""

    def __init__(self, setting: str, problem: str, remedy: str) -> None:
        super().__init__(f"{setting}: {problem}. {remedy}")
        self.setting, self.problem, self.remedy = setting, problem, remedy


class ServiceUnavailable(OperatorError):
    """A service that the application needs does not answer."""

    def __init__(self, service: str, remedy: str) -> None:
        super().__init__(f"{service} cannot be reached. {remedy}")
        self.service, self.remedy = service, remedy


class SendError(LikenessError):
    """A message could not be handed to a chat platform."""


class SendLater(SendError):
    """The platform throttles or the network failed: try the same item again after a while."""

    def __init__(self, after_seconds: float, reason: str = "") -> None:
        super().__init__(f"again in {after_seconds:.1f} s: {reason}")
        self.after_seconds, self.reason = after_seconds, reason


class SendRefused(SendError):
    """The person blocked the bot or closed their messages: keep the item until they write again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class SendImpossible(SendError):
    """The platform will never take this item as it is (too large, malformed, chat deleted)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class FetchError(LikenessError):
    """A file that a person sent could not be had."""


class FetchLater(FetchError):
    """The network or the platform failed: try again after a while."""

    def __init__(self, after_seconds: float, reason: str = "") -> None:
        super().__init__(f"again in {after_seconds:.1f} s: {reason}")
        self.after_seconds, self.reason = after_seconds, reason


class FetchImpossible(FetchError):
    """The file is gone (`reason = "gone"`) or above the limit (`reason = "too_large"`)."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BlobMissing(LikenessError):
    """A blob that the database names is not in the blob store."""

    def __init__(self, key: str) -> None:
        super().__init__(f"blob {key} is missing")
        self.key = key
