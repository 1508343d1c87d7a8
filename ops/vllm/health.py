"""The health check of vLLM's container: exit status 0 when the model can be asked."""

import sys
import urllib.request

ADDRESS = "http://127.0.0.1:8000/health"
TIMEOUT_S = 8.0


def main() -> None:
    """Ask once."""
    try:
        urllib.request.urlopen(ADDRESS, timeout=TIMEOUT_S).close()
    except OSError as failure:
        sys.exit(f"error: {failure}")


if __name__ == "__main__":
    main()
