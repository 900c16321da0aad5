import { useState } from "preact/hooks";

import { readSeries, saveZip, type Series, type Study, zipAddress } from "../api/studies";
import { may, session } from "../api/session";
import { Button, ButtonLink } from "../parts/button";
import { clock, day, number } from "../parts/format";
import { useLoaded } from "../parts/loaded";
import { Loading, Trouble } from "../parts/state";
import { Person, Text, Value } from "../parts/text";
import { tell, tellProblem } from "../parts/toast";
import { link } from "../shell/route";
import { strings } from "../strings";
import { DeleteDialog } from "./delete-dialog";
import { Identity } from "./identity";
import { SendDialog } from "./send-dialog";
import { Thumbnail } from "./thumbnail";

const words = strings.studies;

/** Modalities of series that hold documents, marks or curves. */
const NO_IMAGES = new Set(["SR", "DOC", "PR", "KO", "SEG", "RTSTRUCT", "RTPLAN", "ECG", "EPS", "HD", "REG", "FID"]);

interface DetailsProps {
  study: Study;
  /** The study, or a part of it, is gone. */
  onRemoved: () => void;
}

/** What is being asked of the study, or of one of its series. */
type Doing = { what: "send" | "delete"; series?: Series } | null;

/** All about one study: who it is of, what can be done with it, its series. */
export function Details({ study, onRemoved }: DetailsProps) {
  const [doing, setDoing] = useState<Doing>(null);
  const close = () => setDoing(null);
  return (
    <div class="details">
      <Identity patient={study.patient} />
      {study.isDamaged && <p class="note bad">{words.damagedWords}</p>}
      <Actions study={study} onDo={setDoing} />
      <Facts study={study} />
      <SeriesStrip study={study} onDo={setDoing} />
      {doing?.what === "send" && <SendDialog study={study} series={doing.series} onClose={close} />}
      {doing?.what === "delete" && (
        <DeleteDialog study={study} series={doing.series} onClose={close} onRemoved={onRemoved} />
      )}
    </div>
  );
}

function Actions({ study, onDo }: { study: Study; onDo: (doing: Doing) => void }) {
  const copy = async () => {
    const address = new URL(link(["study", study.uid]), location.href).href;
    // Without HTTPS browsers give pages no clipboard.
    const isCopied = await (navigator.clipboard?.writeText(address) ?? Promise.reject()).then(
      () => true,
      () => false,
    );
    tell(isCopied ? words.linkCopied : words.linkIs(address));
  };
  return (
    <div class="actions">
      <ButtonLink icon="view" kind="main" href={link(["study", study.uid, "view"])}>
        {words.view}
      </ButtonLink>
      {session.value?.ohif && (
        <ButtonLink icon="outside" href={`ohif/viewer?StudyInstanceUIDs=${study.uid}`} target="_blank" rel="noopener">
          {words.ohif}
        </ButtonLink>
      )}
      <ButtonLink icon="download" href={zipAddress(study.uid)} download onClick={saving(study)}>
        {words.download}
      </ButtonLink>
      <Button icon="send" onClick={() => onDo({ what: "send" })}>
        {words.send}
      </Button>
      <Button icon="link" onClick={() => void copy()}>
        {words.copyLink}
      </Button>
      {may("delete") && (
        <Button icon="remove" kind="danger" onClick={() => onDo({ what: "delete" })}>
          {words.remove}
        </Button>
      )}
    </div>
  );
}

/** What a click on a link to a zip does. */
function saving(study: Study, series?: Series) {
  return async (event: Event) => {
    event.preventDefault();
    const answer = await saveZip(study.uid, series?.uid);
    if (!answer.ok) tellProblem(answer.problem);
  };
}

function Facts({ study }: { study: Study }) {
  const facts: [string, string | null][] = [
    [words.date, [day(study.date), clock(study.time)].filter(Boolean).join(" ") || words.noDate],
    [words.description, study.description],
    [words.accession, study.accession],
    [words.studyId, study.studyId],
    [words.institution, study.institution || null],
  ];
  return (
    <dl class="facts">
      {facts.map(
        ([name, value]) =>
          value !== null && (
            <>
              <dt>{name}</dt>
              <dd>
                <Value value={value} />
              </dd>
            </>
          ),
      )}
      {study.referrer.Alphabetic && (
        <>
          <dt>{words.referrer}</dt>
          <dd>
            <Person name={study.referrer} />
          </dd>
        </>
      )}
      <dt>{words.uid}</dt>
      <dd class="mono">{study.uid}</dd>
    </dl>
  );
}

function SeriesStrip({ study, onDo }: { study: Study; onDo: (doing: Doing) => void }) {
  const { value, problem, again } = useLoaded((signal) => readSeries(study.uid, signal), study.uid);
  if (problem) return <Trouble problem={problem} onRetry={again} />;
  if (!value) return <Loading words={words.loadingSeries} />;
  return (
    <section aria-label={words.series}>
      <h2>{words.seriesOf(number(value.length), value.length)}</h2>
      <ul class="strip">
        {value.map((series) => (
          <li key={series.uid}>
            <a href={link(["study", study.uid, "view", series.uid])}>
              <Thumbnail study={study.uid} series={series.uid} modality={series.modality} />
              <SeriesWords series={series} />
            </a>
            <div class="more">
              <ButtonLink
                icon="download"
                kind="plain"
                isBare
                href={zipAddress(study.uid, series.uid)}
                download
                onClick={saving(study, series)}
              >
                {words.downloadSeries(series.number)}
              </ButtonLink>
              <Button icon="send" kind="plain" isBare onClick={() => onDo({ what: "send", series })}>
                {words.sendSeries(series.number)}
              </Button>
              {may("delete") && (
                <Button icon="remove" kind="plain" isBare onClick={() => onDo({ what: "delete", series })}>
                  {words.removeSeries(series.number)}
                </Button>
              )}
            </div>
          </li>
        ))}
      </ul>
    </section>
  );
}

function SeriesWords({ series }: { series: Series }) {
  const places = [series.bodyPart, day(series.date)].filter(Boolean);
  return (
    <div class="words">
      <div class="name">
        {series.number && <span class="faint">{series.number} </span>}
        {series.description ? (
          <Text value={series.description} short />
        ) : (
          <span class="faint">{words.noDescription}</span>
        )}
      </div>
      <div class="faint">
        <span class="badge">
          <Value value={series.modality} short />
        </span>{" "}
        {(NO_IMAGES.has(series.modality) ? words.objects : words.images)(series.imageCount)}
        {places.map((place) => (
          <>
            {" · "}
            <Text value={place} short />
          </>
        ))}
      </div>
      {series.isDamaged && <span class="badge bad">{words.damaged}</span>}
    </div>
  );
}
