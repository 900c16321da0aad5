/** A closed line, in pixels counted from the centre of the first. */
export type Path = [number, number][];

/** Trace the edges of all pixels above a limit; lines run between pixels. */
export function outlines(samples: ArrayLike<number>, columns: number, rows: number, limit: number): Path[] {
  const isIn = (column: number, row: number) =>
    column >= 0 && row >= 0 && column < columns && row < rows && samples[row * columns + column]! > limit;
  const next = new Map<number, number[]>();
  const width = columns + 1;
  const edge = (from: number, to: number) => next.set(from, [...(next.get(from) ?? []), to]);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      if (!isIn(column, row)) continue;
      const corner = row * width + column;
      if (!isIn(column, row - 1)) edge(corner, corner + 1);
      if (!isIn(column + 1, row)) edge(corner + 1, corner + width + 1);
      if (!isIn(column, row + 1)) edge(corner + width + 1, corner + width);
      if (!isIn(column - 1, row)) edge(corner + width, corner);
    }
  }
  return [...loops(next, width)];
}

function* loops(next: Map<number, number[]>, width: number): Generator<Path> {
  const place = (corner: number): [number, number] => [(corner % width) - 0.5, Math.floor(corner / width) - 0.5];
  for (const start of next.keys()) {
    while (next.get(start)?.length) {
      const path: Path = [];
      let at = start;
      do {
        path.push(place(at));
        at = next.get(at)!.pop()!;
      } while (at !== start);
      yield straightened(path);
    }
  }
}

/** Leave out the corners that lie within a straight line. */
function straightened(path: Path): Path {
  return path.filter(([x, y], i) => {
    const [beforeX, beforeY] = path[(i + path.length - 1) % path.length]!;
    const [afterX, afterY] = path[(i + 1) % path.length]!;
    return (x - beforeX) * (afterY - y) !== (y - beforeY) * (afterX - x);
  });
}
