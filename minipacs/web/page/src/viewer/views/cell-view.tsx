import { useEffect, useRef } from "preact/hooks";

import { Loading } from "../../parts/state";
import { strings } from "../../strings";
import { locate } from "../actions";
import type { Cell } from "../cell";
import { text } from "../dicom/json";
import type { Kind } from "../dicom/sets";
import { TAG } from "../dicom/tags";
import { activate, active, visible } from "../store";
import { hover } from "../tools/cursor";
import { Document } from "./document";
import { Lines } from "./lines";
import { Overlay } from "./overlay";
import { Report } from "./report";
import { Video } from "./video";
import { Waveform } from "./waveform";
import { Patient } from "./identity";
import "./documents.css";

const words = strings.viewer;

/** What shows sets that are no pictures. */
const VIEWS: Partial<Record<Kind, typeof Report>> = {
  report: Report,
  document: Document,
  video: Video,
  waveform: Waveform,
};

/** One part of the screen. */
export function CellView({ cell }: { cell: Cell }) {
  const set = cell.set.value;
  const isActive = active.value === cell;
  const View = set && VIEWS[set.kind];
  const take = () => activate(cell);
  return (
    <div
      class={`viewer-cell ${isActive && visible.value.length > 1 ? "active" : ""}`}
      role="group"
      aria-label={labelOf(cell)}
      data-cell={cell.id}
      tabIndex={0}
      onFocusCapture={take}
      onPointerDownCapture={take}
    >
      <Pictures cell={cell} />
      {View && set && (
        <div class="viewer-document">
          <div class="viewer-document-patient">
            <Patient dataSet={set.instances[0]!} />
          </div>
          <View key={set.key} set={set} />
        </div>
      )}
      {set && !View && set.kind !== "pictures" && (
        <Words title={words.kinds[set.kind]} details={words.otherWords(text(set.instances[0], TAG.Modality))} />
      )}
      {cell.error.value && (
        <Words title={set ? words.cannotShow : words.cannotOpen} details={cell.error.value} isAlert />
      )}
      {!set && !cell.error.value && <Words title={words.empty} details="" />}
      {set?.kind === "pictures" && !cell.shown.value && !cell.error.value && (
        <div class="viewer-cover">
          <Loading />
        </div>
      )}
    </div>
  );
}

function Words({ title, details, isAlert = false }: { title: string; details: string; isAlert?: boolean }) {
  return (
    <div class="viewer-cover" role={isAlert ? "alert" : undefined}>
      <strong>{title}</strong>
      <p>{details}</p>
    </div>
  );
}

function labelOf(cell: Cell): string {
  const set = cell.set.value;
  if (!set) return words.empty;
  const name = `${words.series(set.series.number)} ${set.series.description}`;
  const image =
    set.kind === "pictures" ? words.imageSaid(cell.target.value + 1, cell.frames.length) : words.kinds[set.kind];
  return `${name}. ${image}`;
}

/** The canvas, and what lies over it. It is there also while something else is shown, so that nothing is set up twice. */
function Pictures({ cell }: { cell: Cell }) {
  const element = useRef<HTMLDivElement>(null);
  useEffect(() => cell.attach(element.current!), [cell]);
  return (
    <>
      <div
        ref={element}
        class="viewer-canvas"
        onPointerMove={(event) => hover(cell, event)}
        onDblClick={() => locate(cell)}
        onContextMenu={(event) => event.preventDefault()}
      />
      {cell.shown.value && !cell.error.value && (
        <>
          <Lines cell={cell} image={cell.shown.value} />
          <Overlay cell={cell} image={cell.shown.value} />
        </>
      )}
    </>
  );
}
