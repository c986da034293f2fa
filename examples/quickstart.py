"""A whole small program: declare it, optimise it on a handful of rows, run it on supervised agents.

Run it from the repository root with `.venv/bin/python examples/quickstart.py`. It needs no key and no network: the
model is `embedded/nearest`, which answers by the nearest demonstration. Set DSPEX_LM to use a language model.
"""

from __future__ import annotations

from typing import Literal

import dspex_ray as dspex

DATA = [
    {"message": "The whole site is down, nobody can work!", "urgency": "now"},
    {"message": "Nobody in the office can work since nine.", "urgency": "now"},
    {"message": "Production is down and customers are calling.", "urgency": "now"},
    {"message": "The site is down again, please hurry.", "urgency": "now"},
    {"message": "We are losing orders every minute, the shop is down.", "urgency": "now"},
    {"message": "All customers see an error, please hurry!", "urgency": "now"},
    {"message": "The server is on fire. I mean it.", "urgency": "now"},
    {"message": "Nothing works, customers are leaving, help now!", "urgency": "now"},
    {"message": "My second monitor flickers a little.", "urgency": "this_week"},
    {"message": "The printer on floor two jams a little too often.", "urgency": "this_week"},
    {"message": "Could someone look at my slow laptop this week?", "urgency": "this_week"},
    {"message": "My laptop is slow since the update.", "urgency": "this_week"},
    {"message": "Could someone replace my old monitor?", "urgency": "this_week"},
    {"message": "The printer is slow and jams.", "urgency": "this_week"},
    {"message": "I need access to the new folder by Friday.", "urgency": "this_week"},
    {"message": "Could someone give me access to the shared calendar?", "urgency": "this_week"},
    {"message": "Thank you, it works well now.", "urgency": "no_action"},
    {"message": "Thanks for the quick help yesterday!", "urgency": "no_action"},
    {"message": "Just to let you know: it works again.", "urgency": "no_action"},
    {"message": "Thank you for the new keyboard.", "urgency": "no_action"},
    {"message": "It works again, thanks a lot.", "urgency": "no_action"},
    {"message": "You may close my ticket, thanks.", "urgency": "no_action"},
    {"message": "Please close the ticket, it was my own mistake.", "urgency": "no_action"},
    {"message": "Great help yesterday, thank you!", "urgency": "no_action"},
]


class Triage(dspex.Program):
    """Say how urgent a message to the help desk is."""

    class Input(dspex.Schema):
        """What was written to the help desk."""

        message: str

    class Output(dspex.Schema):
        """When somebody has to act."""

        urgency: Literal["now", "this_week", "no_action"]

    temperature = dspex.Float(0.0, 1.0, default=0.2)
    demos = dspex.Demos(max=8)


def main() -> None:
    """Optimise, run one message, say what came out."""
    optimized = dspex.optimize(Triage(), DATA, trials=6, seed=0)
    print(f"validation accuracy {optimized.score:.2f}, saved as version {optimized.version}")
    with optimized.to_agent_system() as system:
        answer = system.run(message="The shop is down and customers cannot order!")
    print(f"urgency: {answer.urgency}")


if __name__ == "__main__":
    main()
