"""What is shown of an evaluation: the table of its rows, and a report in one HTML file."""
