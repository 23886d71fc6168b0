import { useMemo, useState } from "react";

type Column<T> = {
  key: keyof T & string;
  title: string;
  align?: "left" | "right";
  format?: (value: T[keyof T]) => string;
};

type Props<T> = {
  rows: T[];
  columns: Column<T>[];
  pageSize?: number;
};

type Sorting = { key: string; ascending: boolean } | null;

export function DataTable<T extends { id: string | number }>({ rows, columns, pageSize = 20 }: Props<T>) {
  const [sorting, setSorting] = useState<Sorting>(null);
  const [page, setPage] = useState(0);

  const sorted = useMemo(() => {
    if (sorting === null) {
      return rows;
    }
    const factor = sorting.ascending ? 1 : -1;
    return [...rows].sort((a, b) => {
      const left = a[sorting.key as keyof T];
      const right = b[sorting.key as keyof T];
      return left < right ? -factor : left > right ? factor : 0;
    });
  }, [rows, sorting]);

  const pages = Math.max(1, Math.ceil(sorted.length / pageSize));
  const visible = sorted.slice(page * pageSize, (page + 1) * pageSize);

  function toggle(key: string) {
    setPage(0);
    setSorting((old) => (old?.key === key ? { key, ascending: !old.ascending } : { key, ascending: true }));
  }

  return (
    <div className="data-table">
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.key} onClick={() => toggle(column.key)} style={{ textAlign: column.align }}>
                {column.title}
                {sorting?.key === column.key && (sorting.ascending ? " ▲" : " ▼")}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {visible.map((row) => (
            <tr key={row.id}>
              {columns.map(({ key, align, format = String }) => (
                <td key={key} style={{ textAlign: align }}>{format(row[key])}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
      <button disabled={page === 0} onClick={() => setPage(page - 1)}>Previous</button>
      <span>{page + 1} / {pages}</span>
      <button disabled={page + 1 >= pages} onClick={() => setPage(page + 1)}>Next</button>
    </div>
  );
}
