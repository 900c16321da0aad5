import type { ComponentChildren } from "preact";

/** A column: what it is called, and what a row shows in it. */
export interface Column<T> {
  name: string;
  cell: (row: T) => ComponentChildren;
  isNumber?: boolean;
}

interface TableProps<T> {
  caption: string;
  columns: Column<T>[];
  rows: T[];
  keyOf: (row: T, index: number) => string | number;
}

/** A table of some rows; on a narrow page each row becomes a card. */
export function Table<T>({ caption, columns, rows, keyOf }: TableProps<T>) {
  return (
    <table class="table cards">
      <caption class="hidden">{caption}</caption>
      <thead>
        <tr>
          {columns.map(({ name, isNumber }) => (
            <th scope="col" class={isNumber ? "numbers" : ""}>
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {rows.map((row, i) => (
          <tr key={keyOf(row, i)}>
            {columns.map(({ name, cell, isNumber }) => (
              <td class={isNumber ? "numbers" : ""} data-name={name}>
                <div>{cell(row)}</div>
              </td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
