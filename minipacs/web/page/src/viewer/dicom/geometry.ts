/** Planes of images in the patient's coordinates, in mm (PS3.3 C.7.6.2). */

export type Vector = readonly [number, number, number];

/** Where the pixels of an image lie: the centre of the first, directions along a row and a column, mm from one to the next. */
export interface Plane {
  origin: Vector;
  alongRow: Vector;
  alongColumn: Vector;
  columnSpacing: number;
  rowSpacing: number;
}

export const add = (a: Vector, b: Vector): Vector => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
export const subtract = (a: Vector, b: Vector): Vector => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const times = (a: Vector, factor: number): Vector => [a[0] * factor, a[1] * factor, a[2] * factor];
export const dot = (a: Vector, b: Vector): number => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const length = (a: Vector): number => Math.hypot(...a);
export const cross = (a: Vector, b: Vector): Vector => [
  a[1] * b[2] - a[2] * b[1],
  a[2] * b[0] - a[0] * b[2],
  a[0] * b[1] - a[1] * b[0],
];

/** Direction that an image is looked at along, of length 1. */
export function normal(plane: Plane): Vector {
  return cross(plane.alongRow, plane.alongColumn);
}

export function fromNumbers(values: readonly number[]): Vector | undefined {
  const [x, y, z] = values;
  return x === undefined || y === undefined || z === undefined ? undefined : [x, y, z];
}

/** Point of a pixel, counted from 0 at the centre of the first. */
export function pixelToPoint(plane: Plane, column: number, row: number): Vector {
  return add(
    add(plane.origin, times(plane.alongRow, column * plane.columnSpacing)),
    times(plane.alongColumn, row * plane.rowSpacing),
  );
}

/** Column and row that a point falls on, and its distance from the plane in mm. */
export function pointToPixel(plane: Plane, point: Vector): { column: number; row: number; distance: number } {
  const offset = subtract(point, plane.origin);
  return {
    column: dot(offset, plane.alongRow) / plane.columnSpacing,
    row: dot(offset, plane.alongColumn) / plane.rowSpacing,
    distance: dot(offset, normal(plane)),
  };
}

/** Letters of where a direction points, such as L or AFR (PS3.3 C.7.6.1.1.1). */
export function orientationLetters(direction: Vector): string {
  const letters: [number, string, string][] = [
    [direction[0], "L", "R"],
    [direction[1], "P", "A"],
    [direction[2], "H", "F"],
  ];
  return letters
    .filter(([part]) => Math.abs(part) > 0.3)
    .sort((a, b) => Math.abs(b[0]) - Math.abs(a[0]))
    .map(([part, positive, negative]) => (part > 0 ? positive : negative))
    .join("");
}

/** Where the plane of `other` cuts the picture of `plane`: two points in pixels, or nothing. */
export function intersection(
  plane: Plane,
  size: { columns: number; rows: number },
  other: Plane,
  otherSize: { columns: number; rows: number },
): [[number, number], [number, number]] | undefined {
  const facing = normal(plane);
  if (length(cross(facing, normal(other))) < 0.05) return undefined;
  const corners = [
    pixelToPoint(other, 0, 0),
    pixelToPoint(other, otherSize.columns - 1, 0),
    pixelToPoint(other, otherSize.columns - 1, otherSize.rows - 1),
    pixelToPoint(other, 0, otherSize.rows - 1),
  ];
  const distances = corners.map((corner) => dot(subtract(corner, plane.origin), facing));
  const found: [number, number][] = [];
  corners.forEach((corner, i) => {
    const next = (i + 1) % 4;
    const [from, to] = [distances[i]!, distances[next]!];
    if (from === to || from * to > 0) return;
    const point = add(corner, times(subtract(corners[next]!, corner), from / (from - to)));
    const { column, row } = pointToPixel(plane, point);
    if (found.every(([x, y]) => Math.hypot(x - column, y - row) > 1e-6)) found.push([column, row]);
  });
  if (found.length < 2) return undefined;
  const inside = ([x, y]: [number, number]) =>
    x > -size.columns && y > -size.rows && x < 2 * size.columns && y < 2 * size.rows;
  return found.some(inside) ? [found[0]!, found[1]!] : undefined;
}
