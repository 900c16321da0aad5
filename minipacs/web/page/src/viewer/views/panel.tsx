import { Button } from "../../parts/button";
import { Text } from "../../parts/text";
import { strings } from "../../strings";
import { active, openIn, outlining, visible } from "../store";
import { segmentations, toggle, toggleSegment } from "../tools/contours";
import { type Measurement, measurements, remove, removeAll } from "../tools/measure";
import { ToolButton } from "./icons";

const words = strings.viewer;

/** What was measured, and segments to show or hide. */
export function Panel() {
  return (
    <aside class="viewer-panel" aria-label={words.action.panel}>
      <section>
        <h2>{words.measurements}</h2>
        {measurements.value.length === 0 && <p class="faint">{words.noMeasurements}</p>}
        <ul class="viewer-measurements">
          {measurements.value.map((one) => (
            <Measured key={one.uid} measurement={one} />
          ))}
        </ul>
        {measurements.value.length > 1 && <Button onClick={removeAll}>{words.removeAll}</Button>}
      </section>
      <section>
        <h2>{words.segments}</h2>
        <Segments />
      </section>
    </aside>
  );
}

function Measured({ measurement }: { measurement: Measurement }) {
  const { uid, kind, text, frame } = measurement;
  const cell = visible.value.find(({ frames }) => frames.some(({ id }) => id === frame.id));
  const place = cell ? cell.frames.findIndex(({ id }) => id === frame.id) : -1;
  return (
    <li>
      <button type="button" class="viewer-link" disabled={!cell} onClick={() => void cell?.goTo(place)}>
        {words[kind]}: <strong>{text}</strong> {cell && <span class="faint">{words.onImage(place + 1)}</span>}
      </button>
      <ToolButton icon="remove" label={words.removeMeasurement(text)} onClick={() => remove(uid)} />
    </li>
  );
}

function Segments() {
  const others = outlining.value.filter(
    ({ series }) => !segmentations.value.some(({ set }) => set.series.uid === series.uid),
  );
  if (!segmentations.value.length && !others.length) return <p class="faint">{words.noSegments}</p>;
  return (
    <>
      {segmentations.value.map(({ set, segments, isShown, isLoading, error }) => (
        <fieldset key={set.key}>
          <legend>
            <label>
              <input type="checkbox" checked={isShown} onChange={() => void toggle(set)} />{" "}
              <Text value={set.series.description || words.kinds[set.kind]} short />
            </label>
          </legend>
          {isLoading && <p role="status">{strings.parts.loading}</p>}
          {error && <p class="bad">{error}</p>}
          {segments.map(({ key, name, colour, isShown: isOn }) => (
            <label key={key} class="viewer-segment">
              <input type="checkbox" checked={isOn} onChange={() => toggleSegment(set, key)} />
              <span class="viewer-swatch" style={{ background: colour }} />
              <Text value={name} short />
            </label>
          ))}
        </fieldset>
      ))}
      {others.map((entry) => (
        <Button key={entry.series.uid} onClick={() => void openIn(active.value, entry)}>
          {words.showSegments(entry.series.description || entry.series.modality)}
        </Button>
      ))}
    </>
  );
}
