"""How a base's sigmas are shifted, as its scheduler's config says: training and generation follow it alike.

FLUX.1-dev shifts by the number of tokens, FLUX.1-schnell not at all (a constant factor of 1). Formulas:
diffusers, `scheduling_flow_match_euler_discrete.py`; black-forest-labs/flux, `src/flux/sampling.py`.
"""

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class SigmaShift(BaseModel):
    """`scheduler/scheduler_config.json` of a base folder, with diffusers' names and defaults.

    What else such a config can ask for is not done here; a base that asks for it is refused.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)
    class_name: Literal["FlowMatchEulerDiscreteScheduler"] = Field(alias="_class_name")
    use_dynamic_shifting: bool = False
    shift: float = Field(default=1.0, gt=0)
    base_shift: float = 0.5
    max_shift: float = 1.15
    base_image_seq_len: int = Field(default=256, ge=1)
    max_image_seq_len: int = Field(default=4096, ge=1)
    time_shift_type: Literal["exponential"] = "exponential"
    shift_terminal: None = None
    invert_sigmas: Literal[False] = False
    stochastic_sampling: Literal[False] = False
    use_karras_sigmas: Literal[False] | None = False
    use_exponential_sigmas: Literal[False] | None = False
    use_beta_sigmas: Literal[False] | None = False

    def mu(self, tokens: int) -> float:
        """Logarithm of the factor for pictures of so many packed tokens: constant, or a line through two
        points."""
        if not self.use_dynamic_shifting:
            return math.log(self.shift)
        slope = (self.max_shift - self.base_shift) / (self.max_image_seq_len - self.base_image_seq_len)
        return self.base_shift + slope * (tokens - self.base_image_seq_len)
