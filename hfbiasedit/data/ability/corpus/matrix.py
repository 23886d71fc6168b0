import math


class Matrix:
    """A dense matrix of floats, stored row by row."""

    def __init__(self, rows, columns, values=None):
        self.rows = rows
        self.columns = columns
        self.values = list(values) if values is not None else [0.0] * (rows * columns)
        if len(self.values) != rows * columns:
            raise ValueError("wrong number of values")

    @classmethod
    def identity(cls, size):
        result = cls(size, size)
        for i in range(size):
            result[i, i] = 1.0
        return result

    def __getitem__(self, index):
        row, column = index
        return self.values[row * self.columns + column]

    def __setitem__(self, index, value):
        row, column = index
        self.values[row * self.columns + column] = value

    def __matmul__(self, other):
        if self.columns != other.rows:
            raise ValueError("shapes do not match")
        result = Matrix(self.rows, other.columns)
        for i in range(self.rows):
            for k in range(self.columns):
                factor = self[i, k]
                if factor == 0.0:
                    continue
                for j in range(other.columns):
                    result[i, j] += factor * other[k, j]
        return result

    def transpose(self):
        return Matrix(
            self.columns,
            self.rows,
            (self[i, j] for j in range(self.columns) for i in range(self.rows)),
        )

    def norm(self):
        return math.sqrt(sum(value * value for value in self.values))


def solve(matrix, right):
    """Gaussian elimination with partial pivoting; `right` is a list."""
    size = matrix.rows
    a = [[matrix[i, j] for j in range(size)] + [right[i]] for i in range(size)]
    for column in range(size):
        pivot = max(range(column, size), key=lambda row: abs(a[row][column]))
        if abs(a[pivot][column]) < 1e-12:
            raise ZeroDivisionError("the matrix is singular")
        a[column], a[pivot] = a[pivot], a[column]
        for row in range(column + 1, size):
            ratio = a[row][column] / a[column][column]
            for k in range(column, size + 1):
                a[row][k] -= ratio * a[column][k]
    x = [0.0] * size
    for i in reversed(range(size)):
        known = sum(a[i][j] * x[j] for j in range(i + 1, size))
        x[i] = (a[i][size] - known) / a[i][i]
    return x
