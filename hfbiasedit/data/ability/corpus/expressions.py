"""A recursive descent parser for arithmetic with variables."""

import operator
import re

TOKEN = re.compile(r"\s*(?:(\d+(?:\.\d*)?)|([A-Za-z_]\w*)|(.))")
OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


class ParseError(ValueError):
    pass


def tokenize(text):
    for number, name, symbol in TOKEN.findall(text):
        if number:
            yield "number", float(number)
        elif name:
            yield "name", name
        elif symbol.strip():
            yield "symbol", symbol
    yield "end", None


class Parser:
    def __init__(self, text):
        self.tokens = list(tokenize(text))
        self.position = 0

    def peek(self):
        return self.tokens[self.position]

    def take(self):
        token = self.tokens[self.position]
        self.position += 1
        return token

    def expression(self):
        left = self.term()
        while self.peek() in (("symbol", "+"), ("symbol", "-")):
            _, symbol = self.take()
            left = (symbol, left, self.term())
        return left

    def term(self):
        left = self.factor()
        while self.peek() in (("symbol", "*"), ("symbol", "/")):
            _, symbol = self.take()
            left = (symbol, left, self.factor())
        return left

    def factor(self):
        kind, value = self.take()
        if kind in ("number", "name"):
            return value
        if value == "-":
            return ("-", 0.0, self.factor())
        if value == "(":
            inner = self.expression()
            if self.take() != ("symbol", ")"):
                raise ParseError("missing closing parenthesis")
            return inner
        raise ParseError(f"unexpected {value!r}")


def evaluate(tree, variables):
    if isinstance(tree, float):
        return tree
    if isinstance(tree, str):
        try:
            return variables[tree]
        except KeyError:
            raise ParseError(f"{tree} has no value") from None
    symbol, left, right = tree
    return OPERATORS[symbol](evaluate(left, variables), evaluate(right, variables))


def calculate(text, **variables):
    parser = Parser(text)
    tree = parser.expression()
    if parser.peek()[0] != "end":
        raise ParseError("something follows the expression")
    return evaluate(tree, variables)
