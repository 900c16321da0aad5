import { day } from "../../parts/format";
import { Text } from "../../parts/text";
import { strings } from "../../strings";
import { type DataSet, items, meaning, numbers, text, texts } from "../dicom/json";
import type { DisplaySet } from "../dicom/sets";
import { TAG } from "../dicom/tags";
import { active, openIn, studies } from "../store";

const words = strings.viewer.report;

const DEEPEST = 64;
const CONTENT = "0040A730";
const CONCEPT = "0040A043";
const TYPE = "0040A040";

/** A structured report as one reads it (PS3.3 C.17.3). */
export function Report({ set }: { set: DisplaySet }) {
  const dataSet = set.instances[0]!;
  const content = items(dataSet, CONTENT);
  const verified = text(dataSet, "0040A493") === "VERIFIED";
  return (
    <article class="viewer-report">
      <h2>
        <Text value={meaning(dataSet, CONCEPT) || words.title} />
      </h2>
      <p class="faint">
        {words.date}: {day(text(dataSet, TAG.ContentDate))}. {verified ? words.verified : words.unverified}.
      </p>
      {content.length ? <Content content={content} depth={0} /> : <p>{words.empty}</p>}
    </article>
  );
}

function Content({ content, depth }: { content: readonly DataSet[]; depth: number }) {
  if (depth > DEEPEST) return <p>…</p>;
  return (
    <ul>
      {content.map((item, i) => (
        <Item key={i} item={item} depth={depth} />
      ))}
    </ul>
  );
}

function Item({ item, depth }: { item: DataSet; depth: number }) {
  const name = meaning(item, CONCEPT);
  const inner = items(item, CONTENT);
  const isTitle = text(item, TYPE) === "CONTAINER";
  return (
    <li>
      {name &&
        (isTitle ? (
          <h3>
            <Text value={name} />
          </h3>
        ) : (
          <span class="viewer-concept">
            <Text value={name} />:{" "}
          </span>
        ))}
      {!isTitle && <Value item={item} />}
      {inner.length > 0 && <Content content={inner} depth={depth + 1} />}
    </li>
  );
}

/** Where the value of a content item stands, by its type (PS3.3 Table C.17.3-5). */
const PLAIN: Readonly<Record<string, string>> = {
  TEXT: "0040A160",
  DATETIME: "0040A120",
  TIME: "0040A122",
  PNAME: "0040A123",
  UIDREF: "0040A124",
};

function Value({ item }: { item: DataSet }) {
  const kind = text(item, TYPE);
  const plain = PLAIN[kind];
  if (kind === "IMAGE" || kind === "WAVEFORM" || kind === "COMPOSITE") return <Reference item={item} />;
  if (kind === "DATE") return <>{day(text(item, "0040A121"))}</>;
  if (kind === "CODE") return <Text value={meaning(item, "0040A168")} />;
  if (kind === "NUM") return <Measured item={item} />;
  if (kind === "SCOORD" || kind === "SCOORD3D")
    return <Text value={`${text(item, "00700023")} ${numbers(item, "00700022").join(", ")}`} />;
  return plain ? <Text value={texts(item, plain).join("; ").replaceAll("^", " ")} /> : null;
}

function Measured({ item }: { item: DataSet }) {
  const value = items(item, "0040A300")[0];
  const unit = text(items(value, "004008EA")[0], "00080100");
  return (
    <strong>
      <Text value={`${texts(value, "0040A30A").join(", ")} ${unit === "1" ? "" : unit}`.trim()} />
    </strong>
  );
}

/** A picture that the report speaks of, shown if it is in a series at hand. */
function Reference({ item }: { item: DataSet }) {
  const uid = text(items(item, TAG.ReferencedSOPSequence)[0], TAG.ReferencedSOPInstanceUID);
  const entries = studies.value.flatMap((study) => study.entries ?? []);
  const entry = entries.find(({ sets }) =>
    sets?.some(({ instances }) => instances.some((one) => text(one, TAG.SOPInstanceUID) === uid)),
  );
  if (!entry) return <span class="mono">{uid}</span>;
  return (
    <button type="button" class="viewer-link" onClick={() => void openIn(active.value, entry, uid)}>
      {words.seeImage}
    </button>
  );
}
