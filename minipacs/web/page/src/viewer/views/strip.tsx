import { signal } from "@preact/signals";

import { WITHOUT_PICTURE } from "../../api/studies";
import { day } from "../../parts/format";
import { Text } from "../../parts/text";
import { strings } from "../../strings";
import { address } from "../archive";
import { text } from "../dicom/json";
import { addressOf, type DisplaySet } from "../dicom/sets";
import { TAG } from "../dicom/tags";
import {
  active,
  type Entry,
  expand,
  isOverlay,
  openIn,
  show,
  SMALL_SERIES,
  studies,
  type StudyEntry,
  visible,
} from "../store";
import { segmentations } from "../tools/contours";

const words = strings.viewer;

/** Series of the study, and of others of the same patient. */
export function Strip() {
  const [own, ...others] = studies.value;
  return (
    <nav class="viewer-strip" aria-label={words.strip}>
      {own && <Series study={own} />}
      {others.length > 0 && (
        <section>
          <h2>{words.otherStudies}</h2>
          {others.map((study) => (
            <Other key={study.uid} study={study} />
          ))}
        </section>
      )}
    </nav>
  );
}

function Series({ study }: { study: StudyEntry }) {
  return (
    <ul>
      {study.entries?.map((entry) =>
        entry.sets && entry.sets.length > 1 ? (
          entry.sets.map((set) => <Item key={set.key} entry={entry} set={set} />)
        ) : (
          <Item key={entry.series.uid} entry={entry} set={entry.sets?.[0]} />
        ),
      )}
    </ul>
  );
}

function Other({ study }: { study: StudyEntry }) {
  return (
    <details onToggle={() => void expand(study)}>
      <summary>
        {day(text(study.dataSet, TAG.StudyDate))} <Text value={text(study.dataSet, TAG.StudyDescription)} short />
      </summary>
      <Series study={study} />
    </details>
  );
}

/** A series, or one of the sets that it shows. */
function Item({ entry, set }: { entry: Entry; set: DisplaySet | undefined }) {
  const { series } = entry;
  const isShown = visible.value.some((cell) =>
    set ? cell.set.value?.key === set.key : cell.set.value?.series.uid === series.uid,
  );
  const isOn = isOverlay(set) ? segmentations.value.some((one) => one.set.key === set?.key && one.isShown) : isShown;
  const open = () => void (set ? show(active.value, set) : openIn(active.value, entry));
  return (
    <li>
      <button type="button" class="viewer-series" aria-pressed={isOn} onClick={open} data-series={series.uid}>
        <Thumbnail entry={entry} set={set} />
        <span>
          <span>
            <Text value={series.modality} short /> {words.series(series.number)}
          </span>
          <Text value={series.description} short />
          <span class="faint">{countOf(entry, set)}</span>
        </span>
      </button>
      {entry.error && <p class="bad">{entry.error}</p>}
    </li>
  );
}

function countOf({ series }: Entry, set: DisplaySet | undefined): string {
  if (!set) return words.instances(series.instances);
  return set.kind === "pictures" ? words.frames(set.frames.length) : words.kinds[set.kind];
}

const broken = signal<ReadonlySet<string>>(new Set());

function Thumbnail({ entry: { series }, set }: { entry: Entry; set: DisplaySet | undefined }) {
  const place = set
    ? addressOf(series, set.instances[set.instances.length >> 1]!)
    : `studies/${series.study}/series/${series.uid}`;
  const hasNone = set
    ? set.kind !== "pictures"
    : series.instances <= SMALL_SERIES || WITHOUT_PICTURE.has(series.modality);
  if (hasNone || broken.value.has(place)) return <span class="viewer-thumbnail">{series.modality}</span>;
  const fail = () => (broken.value = new Set([...broken.value, place]));
  return (
    <img
      class="viewer-thumbnail"
      src={address(`${place}/thumbnail?viewport=96,96`)}
      alt=""
      loading="lazy"
      onError={fail}
    />
  );
}
