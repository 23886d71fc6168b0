#!/usr/bin/env python3
"""Sum up the sales of a month per region and product from a CSV export."""

import argparse
import csv
import sys
from collections import defaultdict
from datetime import date
from decimal import Decimal, InvalidOperation


def read_sales(lines, month):
    reader = csv.DictReader(lines, delimiter=";")
    for number, row in enumerate(reader, start=2):
        try:
            day = date.fromisoformat(row["date"])
            amount = Decimal(row["amount"].replace(",", "."))
        except (KeyError, ValueError, InvalidOperation) as error:
            print(f"line {number} skipped: {error}", file=sys.stderr)
            continue
        if (day.year, day.month) == month:
            yield row["region"], row["product"], amount


def summarize(sales):
    totals = defaultdict(lambda: defaultdict(Decimal))
    for region, product, amount in sales:
        totals[region][product] += amount
    return totals


def print_table(totals, out=sys.stdout):
    for region in sorted(totals):
        products = totals[region]
        print(f"{region} ({sum(products.values()):,.2f})", file=out)
        for product, amount in sorted(products.items(), key=lambda item: -item[1]):
            share = amount / sum(products.values())
            print(f"    {product:<24}{amount:>12,.2f}{share:>8.1%}", file=out)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=argparse.FileType(encoding="utf-8", errors="replace"))
    parser.add_argument("--month", required=True, help="as in 2024-05")
    options = parser.parse_args(argv)
    year, _, month = options.month.partition("-")
    totals = summarize(read_sales(options.file, (int(year), int(month))))
    if not totals:
        parser.exit(1, "no sales in that month\n")
    print_table(totals)


if __name__ == "__main__":
    main()
