"""What a person can set. The default means: takes no part."""

from typing import Annotated

from webui.extension import Param, options


@options
class Options:
    amount: Annotated[
        float, Param(0.0, 1.0, step=0.01, label="Amount", help="How strong the grain is; 0: none.")
    ] = 0.0  # fmt: skip
