import { ButtonLink } from "../../parts/button";
import { Text } from "../../parts/text";
import { strings } from "../../strings";
import { address } from "../archive";
import { text } from "../dicom/json";
import { addressOf, type DisplaySet } from "../dicom/sets";
import { TAG } from "../dicom/tags";

const words = strings.viewer.document;

/** An encapsulated document, shown by the browser's own reader (PS3.3 A.45). */
export function Document({ set }: { set: DisplaySet }) {
  const dataSet = set.instances[0]!;
  const kind = text(dataSet, TAG.MIMEType).toLowerCase();
  const title = text(dataSet, TAG.DocumentTitle) || words.title;
  const place = address(`${addressOf(set.series, dataSet)}/rendered?accept=${encodeURIComponent(kind)}`);
  return (
    <article class="viewer-file">
      <h2>
        <Text value={title} />
      </h2>
      <div class="viewer-links">
        <ButtonLink href={place} icon="outside" target="_blank" rel="noopener">
          {words.open}
        </ButtonLink>
        <ButtonLink href={place} icon="download" download>
          {words.download}
        </ButtonLink>
      </div>
      {kind === "application/pdf" ? <iframe src={place} title={title} /> : <p>{words.notShown}</p>}
    </article>
  );
}
