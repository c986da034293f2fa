"""Teamwork: who is in a team, who does which unit of work, and one light agent for each run of a plan."""
