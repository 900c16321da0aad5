import { useState } from "preact/hooks";

import { ButtonLink } from "../../parts/button";
import { Text } from "../../parts/text";
import { strings } from "../../strings";
import { address } from "../archive";
import { addressOf, type DisplaySet } from "../dicom/sets";

const words = strings.viewer;

/** A video, played by the browser (PS3.5 8.2.5 to 8.2.11). */
export function Video({ set }: { set: DisplaySet }) {
  const [isBroken, setBroken] = useState(false);
  const place = address(`${addressOf(set.series, set.instances[0]!)}/rendered`);
  return (
    <article class="viewer-file">
      <h2>
        <Text value={set.series.description || words.video.title} />
      </h2>
      {isBroken ? (
        <p role="alert">{words.video.failed}</p>
      ) : (
        <video src={place} controls preload="metadata" aria-label={words.video.title} onError={() => setBroken(true)} />
      )}
      <div class="viewer-links">
        <ButtonLink href={place} icon="download" download>
          {words.document.download}
        </ButtonLink>
      </div>
    </article>
  );
}
