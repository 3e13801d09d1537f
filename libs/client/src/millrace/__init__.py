"""What people and programs use Millrace with: the `millrace` command, its local stack, replays, and the demo."""
