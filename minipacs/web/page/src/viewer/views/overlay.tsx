import { day } from "../../parts/format";
import { Text } from "../../parts/text";
import { strings } from "../../strings";
import type { Cell } from "../cell";
import { type Frame, group } from "../dicom/frame";
import { cross, dot, length, orientationLetters, subtract, type Vector } from "../dicom/geometry";
import { number, text } from "../dicom/json";
import { TAG } from "../dicom/tags";
import type { Loaded } from "../pixels/loader";
import { showsOverlays } from "../store";
import { toCanvas, valueAt, written } from "../tools/cursor";
import { planeOf } from "../tools/measure";
import { Patient } from "./identity";

const words = strings.viewer;

/** Text on a picture: whose it is stays, the rest can be hidden. */
export function Overlay({ cell, image }: { cell: Cell; image: Loaded }) {
  const { frame } = image;
  const isAll = showsOverlays.value;
  return (
    <div class="viewer-overlay">
      <div class="corner top left">
        <Patient dataSet={frame.dataSet} />
      </div>
      {isAll && (
        <div class="corner top right">
          <span>{day(text(frame.dataSet, TAG.StudyDate))}</span>
          <Text value={text(frame.dataSet, TAG.SeriesDescription)} short />
          <span>
            <Text value={text(frame.dataSet, TAG.Modality)} short />{" "}
            {words.series(text(frame.dataSet, TAG.SeriesNumber))}
          </span>
          {cell.set.value?.reformatted && <strong>{cell.set.value.reformatted}</strong>}
        </div>
      )}
      <div class="corner bottom left">
        {isAll && <Cursor cell={cell} image={image} />}
        <Shown cell={cell} image={image} />
      </div>
      {isAll && (
        <div class="corner bottom right">
          {technique(frame).map((line) => (
            <span key={line}>{line}</span>
          ))}
        </div>
      )}
      {isAll && <Directions cell={cell} image={image} />}
    </div>
  );
}

/** Which picture, how it is windowed, how much has come. */
function Shown({ cell, image }: { cell: Cell; image: Loaded }) {
  const total = cell.frames.length;
  const place = cell.frames.findIndex(({ id }) => id === image.imageId) + 1;
  const window = cell.window.value;
  const isPart = cell.loaded.value < total && cell.asked.size > 0;
  return (
    <>
      {isPart && <span class="viewer-coming">{words.coming(cell.loaded.value, total)}</span>}
      <span class="viewer-number" aria-label={words.imageSaid(place, total)}>
        {words.image(place, total)}
      </span>
      {image.picture.kind === "grey" && (
        <span class="viewer-window">
          {window ? words.windowed(written(window.width), written(window.center)) : words.byTable}
        </span>
      )}
    </>
  );
}

function Cursor({ cell, image }: { cell: Cell; image: Loaded }) {
  const at = cell.cursor.value;
  if (!at) return null;
  return (
    <output class="viewer-value" aria-live="polite">
      {words.cursorAt(at.column, at.row, valueAt(image, at.column, at.row))}
    </output>
  );
}

/** How the picture was made, and where it lies. */
function technique(frame: Frame): string[] {
  const { dataSet } = frame;
  const told = words.technique;
  const shown: [string, (value: string) => string][] = [
    [TAG.KVP, told.kVp],
    [TAG.TubeCurrent, told.current],
    [TAG.Exposure, told.exposure],
    [TAG.RepetitionTime, told.repetition],
    [TAG.EchoTime, told.echo],
  ];
  const lines = shown.flatMap(([tag, write]) => {
    const value = number(dataSet, tag);
    return value === undefined || value === 0 ? [] : [write(written(value))];
  });
  const thickness = number(group(dataSet, frame.index, TAG.PixelMeasuresSequence) ?? dataSet, TAG.SliceThickness);
  if (thickness) lines.push(told.thickness(written(thickness)));
  const { plane } = frame;
  if (plane) lines.push(told.location(dot(plane.origin, cross(plane.alongRow, plane.alongColumn)).toFixed(1)));
  return lines;
}

/** Letters at the edges: where in the patient they lie, also when the picture is turned. */
function Directions({ cell, image }: { cell: Cell; image: Loaded }) {
  if (!image.frame.plane || !cell.viewport) return null;
  const [right, down] = screenDirections(cell, image);
  const opposite = (direction: Vector): Vector => [-direction[0], -direction[1], -direction[2]];
  const edges: [string, Vector][] = [
    ["right", right],
    ["left", opposite(right)],
    ["bottom", down],
    ["top", opposite(down)],
  ];
  return (
    <>
      {edges.map(([edge, direction]) => (
        <span key={edge} class={`viewer-direction ${edge}`}>
          {orientationLetters(direction)}
        </span>
      ))}
    </>
  );
}

/** Where right and down on the screen point to in the patient. */
function screenDirections(cell: Cell, image: Loaded): [Vector, Vector] {
  const { alongRow, alongColumn } = planeOf(image.frame);
  const origin = toCanvas(cell, image, 0, 0);
  const alongX = subtract2(toCanvas(cell, image, 10, 0), origin);
  const alongY = subtract2(toCanvas(cell, image, 0, 10), origin);
  const direction = (part: 0 | 1): Vector => {
    const [x, y] = [alongX[part] / (Math.hypot(...alongX) || 1), alongY[part] / (Math.hypot(...alongY) || 1)];
    const found: Vector = [0, 1, 2].map((i) => alongRow[i]! * x + alongColumn[i]! * y) as unknown as Vector;
    const size = length(subtract(found, [0, 0, 0])) || 1;
    return [found[0] / size, found[1] / size, found[2] / size];
  };
  return [direction(0), direction(1)];
}

const subtract2 = (a: [number, number], b: [number, number]): [number, number] => [a[0] - b[0], a[1] - b[1]];
