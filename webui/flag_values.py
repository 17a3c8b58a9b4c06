"""What a text on the command line may be: ports, counts, devices, accounts. Knows no flag."""

import argparse


def port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port: it goes from 0 to 65535")
    return int(text)


def count(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) <= 64:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of workers: 1 to 64")
    return int(text)


def device(text: str) -> str:
    kind, _, number = text.partition(":")
    if text not in ("auto", "cpu", "cuda") and not (kind == "cuda" and number.isdigit()):
        raise argparse.ArgumentTypeError(f"'{text}' is not a device: auto, cpu, cuda or cuda:N")
    return text


def accounts(text: str) -> tuple[tuple[str, str], ...]:
    pairs = tuple((user, password) for user, _, password in (each.partition(":") for each in text.split(",")))
    if not all(user and password for user, password in pairs):
        raise argparse.ArgumentTypeError("it must be USER:PASSWORD, or several of them with commas between")
    return pairs
