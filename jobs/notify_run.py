"""Run a command and tell your phone when it starts, ends or fails; ``notify-run`` is the same program.

    notify-run via-tml2 -- nohup python jobs/train.py configs/natlantic.yaml > train.log 2>&1 &
    python jobs/notify_run.py via-tml2 -- python jobs/train.py configs/demo.yaml

Reads   NTFY_TOPIC, NTFY_SERVER, NTFY_TOKEN, APPRISE_URLS, ~/.config/isobar/notify.env, ~/.config/notify-run
Writes  results/.outbox/: messages that wait for a machine with internet (``notify-run --flush``)
Takes   what the command takes; at its end up to 6 s for the last message, 2 s where the server is dead
"""

from pipeline.notify.cli import entry


def main() -> None:
    """Run the command line."""
    entry()


if __name__ == "__main__":
    main()
