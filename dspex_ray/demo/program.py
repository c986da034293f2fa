"""The demo's program: routes the messages of a parcel shop's customers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dspex_coordination.variables import Demos, Float
from dspex_ray.programs.program import Program
from dspex_ray.schema import Probability, Schema

DATA = Path(__file__).with_name("messages.csv")


class ShopRoute(Program):
    """Route a customer's message to the intent it expresses."""

    class Input(Schema):
        """What a customer wrote."""

        message: str

    class Output(Schema):
        """What the customer wants."""

        intent: Literal[
            "account_login",
            "cancel_order",
            "change_address",
            "damaged_item",
            "delivery_time_window",
            "discount_code",
            "invoice_copy",
            "payment_failed",
            "product_question",
            "refund_status",
            "return_item",
            "where_is_my_parcel",
        ]
        confidence: Probability = 1.0

    temperature = Float(0.0, 1.5, default=0.2)
    demos = Demos(max=16)
