import type { Cell } from "../cell";
import { intersection } from "../dicom/geometry";
import type { Loaded } from "../pixels/loader";
import { active, showsLines, visible } from "../store";
import { toCanvas } from "../tools/cursor";
import { contoursOn } from "../tools/contours";

/** Lines over a picture: contours, where other pictures cut it, the cursor. */
export function Lines({ cell, image }: { cell: Cell; image: Loaded }) {
  if (!cell.viewport) return null;
  return (
    <svg class="viewer-lines">
      <Contours cell={cell} image={image} />
      {showsLines.value && <Reference cell={cell} image={image} />}
      <Cursor cell={cell} image={image} />
    </svg>
  );
}

/** Where the picture of the part in use cuts this one. */
function Reference({ cell, image }: { cell: Cell; image: Loaded }) {
  const from = active.value;
  const other = from.shown.value?.frame;
  const { plane, frameOfReference, layout } = image.frame;
  if (
    from === cell ||
    !visible.value.includes(cell) ||
    !other?.plane ||
    !plane ||
    !frameOfReference ||
    other.frameOfReference !== frameOfReference
  )
    return null;
  const ends = intersection(plane, layout, other.plane, other.layout);
  if (!ends) return null;
  const [[x1, y1], [x2, y2]] = ends.map(([column, row]) => toCanvas(cell, image, column, row)) as [
    [number, number],
    [number, number],
  ];
  return <line class="viewer-reference" x1={x1} y1={y1} x2={x2} y2={y2} />;
}

const ARM = 8;

function Cursor({ cell, image }: { cell: Cell; image: Loaded }) {
  const at = cell.cursor.value;
  if (!at) return null;
  const [x, y] = toCanvas(cell, image, at.column, at.row);
  return <path class="viewer-cursor" d={`M${x - ARM} ${y}h${2 * ARM}M${x} ${y - ARM}v${2 * ARM}`} />;
}

function Contours({ cell, image }: { cell: Cell; image: Loaded }) {
  return (
    <>
      {contoursOn(image.frame).map(({ segment, paths }) => (
        <path
          key={segment.key}
          class="viewer-contour"
          stroke={segment.colour}
          d={paths
            .map(
              (path) =>
                `M${path
                  .map(([column, row]) =>
                    toCanvas(cell, image, column, row)
                      .map((value) => value.toFixed(2))
                      .join(" "),
                  )
                  .join("L")}Z`,
            )
            .join("")}
        >
          <title>{segment.name}</title>
        </path>
      ))}
    </>
  );
}
