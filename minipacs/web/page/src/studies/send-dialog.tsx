import { useEffect, useState } from "preact/hooks";

import type { Problem } from "../api/client";
import { callOff, readPeers, readSend, type Send, send } from "../api/sends";
import type { Series, Study } from "../api/studies";
import { Button } from "../parts/button";
import { Dialog } from "../parts/dialog";
import { useLoaded } from "../parts/loaded";
import { Progress } from "../parts/progress";
import { Loading, Trouble } from "../parts/state";
import { Text } from "../parts/text";
import { strings } from "../strings";
import { Identity } from "./identity";

const words = strings.studies.sending;
const LOOK_MS = 700;

/** Sends a study or a series to a peer, and shows how that goes; it goes on when this is closed. */
export function SendDialog({
  study,
  series,
  onClose,
}: {
  study: Study;
  series: Series | undefined;
  onClose: () => void;
}) {
  const peers = useLoaded(readPeers, "peers");
  const [peer, setPeer] = useState("");
  const [sent, setSent] = useState<Send | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [isBusy, setBusy] = useState(false);
  const chosen = peer || (peers.value?.[0]?.title ?? "");
  const isUnderWay = sent !== null && (sent.state === "waiting" || sent.state === "sending");
  useEffect(() => {
    if (!sent || !isUnderWay) return undefined;
    const timer = setTimeout(async () => {
      const answer = await readSend(sent.id);
      if (answer.ok) setSent({ ...answer.value });
      else setProblem(answer.problem);
    }, LOOK_MS);
    return () => clearTimeout(timer);
  }, [sent]);
  const begin = async () => {
    setBusy(true);
    setProblem(null);
    const answer = await send(chosen, study.uid, series?.uid);
    setBusy(false);
    if (answer.ok) setSent(answer.value);
    else setProblem(answer.problem);
  };
  const ends = (
    <>
      {isUnderWay && <Button onClick={() => void callOff(sent.id).then(onClose)}>{words.callOff}</Button>}
      <Button onClick={onClose}>{sent ? strings.parts.close : strings.parts.cancel}</Button>
      {!sent && (
        <Button icon="send" kind="main" type="submit" disabled={!chosen || isBusy}>
          {words.submit}
        </Button>
      )}
    </>
  );
  return (
    <Dialog
      title={series ? words.titleSeries : words.title}
      onClose={onClose}
      onSubmit={() => void begin()}
      ends={ends}
    >
      <Identity patient={study.patient} />
      {problem && <Trouble problem={problem} />}
      {peers.problem && <Trouble problem={peers.problem} onRetry={peers.again} />}
      {!peers.value && !peers.problem && <Loading />}
      {peers.value?.length === 0 && <p class="note">{words.noPeers}</p>}
      {!sent && peers.value && peers.value.length > 0 && (
        <label class="field">
          <span>{words.peer}</span>
          <select class="input" value={chosen} onChange={(event) => setPeer(event.currentTarget.value)}>
            {peers.value.map(({ title }) => (
              <option value={title}>{title}</option>
            ))}
          </select>
        </label>
      )}
      {sent && <Sent sent={sent} />}
    </Dialog>
  );
}

function Sent({ sent }: { sent: Send }) {
  const kind = { waiting: sent.words ? "warn" : "", sending: "", done: sent.failed ? "warn" : "good", failed: "bad" }[
    sent.state
  ];
  return (
    <div role="status">
      <Progress label={words.progress} done={sent.completed + sent.warned + sent.failed} total={sent.total} />
      <p class={`note ${kind}`}>
        <span>
          {words.states[sent.state]} · {words.counts(sent.completed + sent.warned, sent.total, sent.failed)}
        </span>
        {sent.words && <Text value={sent.words} />}
      </p>
    </div>
  );
}
