"""Huffman codes: build one from frequencies, encode and decode strings of bits."""

import heapq
from collections import Counter
from itertools import count


def build_tree(text):
    order = count()
    heap = [(weight, next(order), symbol) for symbol, weight in Counter(text).items()]
    heapq.heapify(heap)
    if not heap:
        return None
    while len(heap) > 1:
        light, _, left = heapq.heappop(heap)
        heavy, _, right = heapq.heappop(heap)
        heapq.heappush(heap, (light + heavy, next(order), (left, right)))
    return heap[0][2]


def code_table(tree, prefix=""):
    if tree is None:
        return {}
    if isinstance(tree, str):
        return {tree: prefix or "0"}
    left, right = tree
    return {**code_table(left, prefix + "0"), **code_table(right, prefix + "1")}


def encode(text):
    tree = build_tree(text)
    table = code_table(tree)
    return tree, "".join(table[symbol] for symbol in text)


def decode(tree, bits):
    if isinstance(tree, str):
        return tree * len(bits)
    symbols = []
    node = tree
    for bit in bits:
        node = node[int(bit)]
        if isinstance(node, str):
            symbols.append(node)
            node = tree
    if node is not tree:
        raise ValueError("the bits end in the middle of a symbol")
    return "".join(symbols)
