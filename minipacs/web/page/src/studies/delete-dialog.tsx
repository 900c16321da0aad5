import { useState } from "preact/hooks";

import type { Problem } from "../api/client";
import { readRemoval, type Removal, removeStudy, type Series, type Study } from "../api/studies";
import { Button } from "../parts/button";
import { Dialog } from "../parts/dialog";
import { bytes } from "../parts/format";
import { useLoaded } from "../parts/loaded";
import { Loading, Trouble } from "../parts/state";
import { Text } from "../parts/text";
import { tell } from "../parts/toast";
import { strings } from "../strings";
import { Identity } from "./identity";

const words = strings.studies.removal;

interface DeleteDialogProps {
  study: Study;
  series: Series | undefined;
  onClose: () => void;
  onRemoved: () => void;
}

/** Says what a removal will take, and removes it once that is confirmed. */
export function DeleteDialog({ study, series, onClose, onRemoved }: DeleteDialogProps) {
  const preview = useLoaded((signal) => readRemoval(study.uid, series?.uid, signal), "removal");
  const [isSure, setSure] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const isHeld = Boolean(preview.value?.held.length);
  const remove = async () => {
    setBusy(true);
    const answer = await removeStudy(study.uid, series?.uid);
    setBusy(false);
    if (!answer.ok) {
      setProblem(answer.problem);
      return;
    }
    tell(words.done);
    onClose();
    onRemoved();
  };
  const ends = (
    <>
      <Button onClick={onClose}>{strings.parts.cancel}</Button>
      <Button icon="remove" kind="danger main" type="submit" disabled={!isSure || isBusy || !preview.value || isHeld}>
        {words.submit}
      </Button>
    </>
  );
  return (
    <Dialog
      title={series ? words.titleSeries : words.title}
      onClose={onClose}
      onSubmit={() => void remove()}
      ends={ends}
    >
      <Identity patient={study.patient} />
      {preview.problem && <Trouble problem={preview.problem} onRetry={preview.again} />}
      {preview.isLoading && !preview.value && <Loading />}
      {preview.value && <Taken removal={preview.value} />}
      {problem && <Trouble problem={problem} />}
      {!isHeld && (
        <label class="check">
          <input type="checkbox" checked={isSure} onChange={(event) => setSure(event.currentTarget.checked)} />{" "}
          {words.sure}
        </label>
      )}
    </Dialog>
  );
}

function Taken({ removal }: { removal: Removal }) {
  if (removal.held.length > 0) {
    return <p class="note bad">{words.held(removal.held.join("; "))}</p>;
  }
  return (
    <>
      <p class="note warn">{words.takes(removal.series, removal.instances, bytes(removal.bytes))}</p>
      {removal.patients.length > 1 && (
        <div class="note bad">
          {words.otherPatients}
          <ul>
            {removal.patients.map(({ name, id, birth_date }) => (
              <li>
                <Text value={[name, birth_date, id].filter(Boolean).join(" · ")} />
              </li>
            ))}
          </ul>
        </div>
      )}
    </>
  );
}
