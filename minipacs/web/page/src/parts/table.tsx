import type { ComponentChildren } from "preact";

/** A column: what it is called, and what a row shows in it. */
export interface Column<T> {
  name: string;
  cell: (row: T) => ComponentChildren;
  isNumber?: boolean;
  /** What it shows is some words at most, and stays on one line. */
  isShort?: boolean;
}

interface TableProps<T> {
  caption: string;
  columns: Column<T>[];
  rows: T[];
  keyOf: (row: T, index: number) => string | number;
  /** A class that gives the columns their widths, where several tables are to stand in line. */
  widths?: string;
}

/** A table of some rows; on a narrow page each row becomes a card. */
export function Table<T>({ caption, columns, rows, keyOf, widths = "" }: TableProps<T>) {
  return (
    <table class={`table cards ${widths}`}>
      <caption class="hidden">{caption}</caption>
      <thead>
        <tr>
          {columns.map((column) => (
            <th scope="col" class={kind(column)}>
              {column.name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row, i) => (
          <tr key={keyOf(row, i)}>
            {columns.map((column) => (
              <td class={kind(column)} data-name={column.name}>
                <div>{column.cell(row)}</div>
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function kind<T>({ isNumber, isShort }: Column<T>): string {
  return isNumber ? "numbers" : isShort ? "short" : "";
}
