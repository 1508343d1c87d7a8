"""What can be set on a stand-in. Values only; no behaviour and no reading of the environment."""

import msgspec

DEFAULT_MODEL = "sovereign-standin"


class StandinConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of one stand-in server."""

    model: str = DEFAULT_MODEL
    max_model_len: int = 8192
    api_key: str | None = None
    first_token_ms: float = 0
    token_ms: float = 15
    max_num_seqs: int = 256
    max_queued: int | None = None
    """Requests that may wait for a slot; None is no limit. vLLM's own option counts the running ones too."""

    @property
    def is_instant(self) -> bool:
        """Say whether every token is due at once, so that an answer can be one socket write."""
        return self.first_token_ms <= 0 and self.token_ms <= 0
