import { useEffect } from "preact/hooks";
import { effect } from "@preact/signals";

import { Empty, Loading } from "../parts/state";
import { strings } from "../strings";
import { forget } from "./actions";
import { begin as beginEngine } from "./engine";
import { listen } from "./keys";
import { release } from "./pixels/loader";
import {
  begin,
  end,
  failureOfStudy,
  isLoading,
  isPanelOpen,
  layout,
  LAYOUTS,
  loadAhead,
  studies,
  visible,
} from "./store";
import { watch } from "./tools/watch";
import { CellView } from "./views/cell-view";
import { Help } from "./views/help";
import { Identity, TwoPatients } from "./views/identity";
import { Panel } from "./views/panel";
import { Strip } from "./views/strip";
import { Toolbar } from "./views/toolbar";
import "./viewer.css";

const words = strings.viewer;

interface ViewerProps {
  study: string;
  series?: string;
  instance?: string;
}

/** Pictures of a study, and what else it holds. */
export default function Viewer({ study, series, instance }: ViewerProps) {
  useEffect(() => {
    beginEngine();
    const stops = [listen(study), watch(), effect(loadAhead)];
    return () => {
      for (const stop of stops) stop();
      forget();
      end();
      release();
    };
  }, [study]);
  useEffect(() => void begin(study, series, instance), [study, series, instance]);
  return (
    <section class="viewer" aria-label={words.region}>
      <Identity study={study} />
      <Toolbar />
      <TwoPatients />
      <div class="viewer-middle">
        <Strip />
        <Grid />
        {isPanelOpen.value && <Panel />}
      </div>
      <Help />
    </section>
  );
}

function Grid() {
  const { rows, columns } = LAYOUTS.find(({ id }) => id === layout.value)!;
  if (failureOfStudy.value) {
    return (
      <div class="note bad" role="alert">
        {failureOfStudy.value}
      </div>
    );
  }
  if (isLoading.value) return <Loading />;
  if (!studies.value[0]?.entries?.length) return <Empty icon="view" title={words.emptyStudy} />;
  return (
    <div
      class="viewer-grid"
      style={{ gridTemplate: `repeat(${rows}, minmax(0, 1fr)) / repeat(${columns}, minmax(0, 1fr))` }}
    >
      {visible.value.map((cell) => (
        <CellView key={cell.id} cell={cell} />
      ))}
    </div>
  );
}
