"""`python -m api.client_code` writes the client's operations anew; `--check` says whether they are
up to date."""

import sys

from api.client_code.files import CLIENT, files, stale


def main(arguments: list[str]) -> int:
    """Exit code: 1 with `--check` where a file is not up to date."""
    texts = files()
    changed = stale(texts)
    if "--check" in arguments:
        advice = "is not up to date; run python -m api.client_code"
        sys.stderr.write("".join(f"{name} {advice}\n" for name in changed))
        return 1 if changed else 0
    for name in changed:
        path = CLIENT / name
        if name not in texts:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(texts[name], encoding="utf-8")
        sys.stdout.write(f"wrote {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
